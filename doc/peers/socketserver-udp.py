# A UDP server with socketserver.UDPServer, as its manual shows it.
import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data, socket = self.request
        socket.sendto(data, self.client_address)


with socketserver.UDPServer(("", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
