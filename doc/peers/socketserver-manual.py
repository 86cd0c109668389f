# The example of Python's manual (socketserver.TCPServer), without its upper().
import socketserver, sys

class MyTCPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.data = self.request.recv(1024).strip()
        self.request.sendall(self.data)

with socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])),
                            MyTCPHandler) as server:
    server.serve_forever()
