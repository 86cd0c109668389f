# The example of Python's manual, with a loop until the end of file. A client
# that breaks the connection is not an error.
import asyncio, sys

async def handle_echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        writer.close()

async def main():
    server = await asyncio.start_server(handle_echo, "127.0.0.1", sys.argv[1],
                                        backlog=4096)
    async with server:
        await server.serve_forever()

asyncio.run(main())
