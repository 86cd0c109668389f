# The example of Python's manual (asyncio, "UDP Echo Server"). It prints nothing,
# and runs until a signal ends it.
import asyncio, sys

class EchoServerProtocol:
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)

async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(EchoServerProtocol,
        local_addr=("127.0.0.1", int(sys.argv[1])))
    await asyncio.Event().wait()

asyncio.run(main())
