#!/bin/sh
# Run Tomcat in the foreground: the shell gives its place, its signals and its output to Java.
set -e
home=${CATALINA_HOME:-/usr/share/tomcat10}
base=$(cd "$(dirname "$0")/.." && pwd)
cd "$base"
# A small heap, one collector thread, quick compilation: a page or two, soon, rather than thousands, later.
# shellcheck disable=SC2086 # JAVA_OPTS is a list of words
exec "${JAVA_HOME:-/usr/lib/jvm/default-java}/bin/java" \
    -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k -Xmx256m \
    -Djava.security.egd=file:/dev/urandom \
    -Djava.util.logging.config.file="$base/conf/logging.properties" \
    -Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager \
    --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED \
    --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
    --add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED \
    ${JAVA_OPTS:-} \
    -classpath "$home/bin/bootstrap.jar:$home/bin/tomcat-juli.jar" \
    -Dcatalina.home="$home" -Dcatalina.base="$base" -Djava.io.tmpdir="$base/temp" \
    org.apache.catalina.startup.Bootstrap start
