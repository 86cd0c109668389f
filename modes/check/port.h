/*
 * The TCP ports of this system, as /proc/net/tcp lists them (proc_pid_net(5)),
 * for starting a server again at the same port, and for explaining a timeout.
 *
 * The side that closes a connection first keeps it in TIME_WAIT for a minute
 * (RFC 9293, 3.3.2). A server without SO_REUSEADDR cannot bind its port until
 * then. A reset removes such a connection.
 */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "modes/lib/net.h"

/*
 * Whether a server listens at a port of this system; 1, 0, or -1: unknown. If
 * there are few connections, the system searches its whole table of them, which
 * takes milliseconds.
 */
int port_is_listening(uint16_t port);

/*
 * Whether a program listens at a port of this system. It may connect to find
 * out, so it is to be called before the server is started.
 */
bool port_is_taken(uint16_t port);

/*
 * Whether clients wait in the queue of a listener of this system because the
 * server does not accept them. False if that is not known.
 */
bool port_has_queue(const struct net_peer *server);

/*
 * Whether the system may give the port to a client. A client that connects to
 * such a port before the server listens can get that very port, and is then
 * connected to itself. True if it is not known.
 */
bool port_is_for_clients(uint16_t port);

/* Whether a connection from that port is in TIME_WAIT. */
bool port_is_waiting(uint16_t port);

/* Removes the connections in TIME_WAIT from that port, where possible. */
void port_clear(uint16_t port);

/* Whether no socket has the port, not even in TIME_WAIT. */
bool port_is_unused(uint16_t port);

/*
 * Returns a port below those that the system gives to clients, which no socket
 * has, and no connection in TIME_WAIT. It is another one at each call; 0 if
 * none was found.
 */
uint16_t port_choose(void);

#endif
