"""The daemon, by room: `process` builds every part and is the process map; the others make what it builds.

root_lock       one daemon for each root
control_plane   credentials, HTTPS, the audit log
controllers     the controllers, the first clients of the API
node_side       the runtime, the Pods' network, Services, the node agent
removal         taking down what outlives the daemon
"""
