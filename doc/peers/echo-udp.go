// The usual UDP echo server in Go: one goroutine, ReadFromUDP and WriteToUDP.
package main

import (
	"log"
	"net"
	"os"
)

func main() {
	address, err := net.ResolveUDPAddr("udp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	c, err := net.ListenUDP("udp", address)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 65536)
	for {
		n, from, err := c.ReadFromUDP(buffer)
		if err != nil {
			log.Fatal(err)
		}
		c.WriteToUDP(buffer[:n], from)
	}
}
