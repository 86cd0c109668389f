/*
 * Declares the features that a system lacks. The program is written as if every
 * system had the functions, flags and constants of Linux that this file names.
 * On other systems the Makefile includes this file before each source, tests
 * which features are missing (-DLACKS_NAME), and compiles
 * modes/lib/compat/NAME.c for each missing feature NAME. On Linux this is not
 * compiled, except with PORTABLE=1, which treats all these features as missing.
 */
#ifndef COMPAT_H
#define COMPAT_H

/* macOS has two versions of the options of IPv6; this one is RFC 3542. */
#define __APPLE_USE_RFC_3542

#include <sys/types.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Functions. */

#ifdef LACKS_accept4
int compat_accept4(int fd, struct sockaddr *, socklen_t *size, int flags);
#define accept4 compat_accept4
#endif

#ifdef LACKS_memrchr
void *compat_memrchr(const void *, int byte, size_t);
#undef memrchr
#define memrchr compat_memrchr
#endif

#ifdef LACKS_mempcpy
void *compat_mempcpy(void *to, const void *from, size_t);
#undef mempcpy
#define mempcpy compat_mempcpy
#endif

#ifdef LACKS_pipe2
int compat_pipe2(int ends[2], int flags);
#define pipe2 compat_pipe2
#endif

/* The signal mask must be NULL: this program changes it in no wait. */
#ifdef LACKS_ppoll
int compat_ppoll(struct pollfd *, nfds_t, const struct timespec *,
    const void *mask);
#define ppoll compat_ppoll
#endif

#ifdef LACKS_reallocarray
void *compat_reallocarray(void *, size_t n, size_t size);
#define reallocarray compat_reallocarray
#endif

/* recvmmsg(2) without a timeout, and sendmmsg(2). */
#ifdef LACKS_recvmmsg
struct compat_mmsghdr {
	struct msghdr msg_hdr;
	unsigned msg_len;
};
int compat_recvmmsg(int fd, struct compat_mmsghdr *, unsigned n, int flags,
    struct timespec *);
int compat_sendmmsg(int fd, struct compat_mmsghdr *, unsigned n, int flags);
#define mmsghdr compat_mmsghdr
#define recvmmsg compat_recvmmsg
#define sendmmsg compat_sendmmsg
#endif

/* getprogname(3) and setprogname(3) of BSD, for program_posix.c. */
#ifdef LACKS_setprogname
const char *compat_getprogname(void);
void compat_setprogname(char *);
#define getprogname compat_getprogname
#define setprogname compat_setprogname
#endif

/* socket(2) and socketpair(2) with flags in the type. */
#ifdef LACKS_SOCK_CLOEXEC
#undef SOCK_CLOEXEC
#undef SOCK_NONBLOCK
#define SOCK_CLOEXEC 0x10000000
#define SOCK_NONBLOCK 0x20000000
int compat_socket(int family, int type, int protocol);
int compat_socketpair(int family, int type, int protocol, int ends[2]);
#define socket compat_socket
#define socketpair compat_socketpair
#endif

/* Flags of calls. */

/* SIGPIPE is ignored by main(). */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#ifndef MSG_MORE
#define MSG_MORE 0
#endif

/* A directory can be neither read nor written with read(2) and write(2). */
#ifndef O_PATH
#define O_PATH O_RDONLY
#endif

/*
 * On the BSDs, the control message with the destination address of a datagram
 * contains only this address, and the same message sets the source address of
 * the reply. (NetBSD also has IP_PKTINFO, with other contents than Linux.)
 */
#ifdef IP_SENDSRCADDR
#undef IP_PKTINFO
#define IP_PKTINFO IP_RECVDSTADDR
struct compat_in_pktinfo {
	struct in_addr ipi_addr;
};
#define in_pktinfo compat_in_pktinfo
#endif

/* Options that setsockopt(2) refuses, which the caller ignores. */

#ifndef TCP_KEEPIDLE
#ifdef TCP_KEEPALIVE
#define TCP_KEEPIDLE TCP_KEEPALIVE
#else
#define TCP_KEEPIDLE (-1)
#endif
#endif

#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL (-1)
#endif

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT (-1)
#endif

/* An error that no call reports. */
#ifndef ENONET
#define ENONET (-2)
#endif

/* System calls for the sandbox, which only Linux has (sandbox.h). */
#ifndef __linux__
#define SYS_getsockopt 0
#define SYS_pselect6 0
#define SYS_recvmmsg 0
#define SYS_sendmmsg 0
#define SYS_sendmsg 0
#define SYS_wait4 0
#endif

#endif
