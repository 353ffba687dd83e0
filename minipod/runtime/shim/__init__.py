"""The long-lived parent of every container: forks, owns pipes, exit codes and logs. Standard library only."""
