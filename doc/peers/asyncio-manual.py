# The example of Python's manual (asyncio, "TCP echo server using streams").
import asyncio, sys

async def handle_echo(reader, writer):
    data = await reader.read(100)
    writer.write(data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()

async def main():
    server = await asyncio.start_server(handle_echo, "127.0.0.1", sys.argv[1])
    async with server:
        await server.serve_forever()

asyncio.run(main())
