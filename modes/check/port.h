/*
 * The TCP ports of this system, as /proc/net/tcp lists them (proc_pid_net(5)),
 * for starting a server again at the same port, and for explaining a timeout.
 *
 * The side that closes a connection first keeps it in TIME_WAIT for a minute
 * (RFC 9293, 3.3.2). During this time, a server without SO_REUSEADDR cannot
 * bind its port. A reset removes such a connection.
 */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "modes/lib/net.h"

/*
 * Whether a server listens at a port of this system; 1, 0, or -1: unknown. This
 * may take milliseconds, because the system searches its whole table of
 * connections, even if there are only a few.
 */
int port_is_listening(uint16_t port);

/*
 * Whether a program listens at a port of this system. The function may connect
 * to the port, so it has to be called before the server is started.
 */
bool port_is_taken(uint16_t port);

/*
 * Whether clients wait in the queue of a listener of this system because the
 * server does not accept them. False if the system does not show this.
 */
bool port_has_queue(const struct net_peer *server);

/*
 * Whether the system may give the port to a client. If a client connects to
 * such a port before the server listens, the system can give this port to the
 * client, and the client is then connected to itself. True if the system does
 * not show this.
 */
bool port_is_for_clients(uint16_t port);

/* Whether a connection from that port is in TIME_WAIT. */
bool port_is_waiting(uint16_t port);

/* Removes the connections in TIME_WAIT from that port, where possible. */
void port_clear(uint16_t port);

/* Whether no socket has the port, not even in TIME_WAIT. */
bool port_is_unused(uint16_t port);

/*
 * Returns a port that is below the ports of clients, and that no socket and no
 * connection in TIME_WAIT has. Each call returns another port; 0 if no port was
 * found.
 */
uint16_t port_choose(void);

#endif
