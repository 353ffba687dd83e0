<%@ page contentType="text/html; charset=UTF-8" %><!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>sample</title></head>
<body>
<h1>Hello from <%= java.net.InetAddress.getLocalHost().getHostName() %>!</h1>
<p>Served by <%= application.getServerInfo() %> on Java <%= System.getProperty("java.version") %>.</p>
</body>
</html>
