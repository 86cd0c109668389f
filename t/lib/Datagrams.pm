package Datagrams;

# UDP sockets for tests of the server: each step has a deadline, and datagrams
# with a forged source address are made where a network namespace permits it.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use IO::Socket::IP ();
use Socket qw(:all);

use EchoTest;

our @EXPORT = qw(answer answered ask counted forge totals udp udp_port
    wait_answers);

# The port of a listening line.
sub udp_port { ($_[0] =~ /:(\d+)$/)[0] }

# A UDP socket that is connected to "udp:host:port", or to a port of a host.
# Options are those of IO::Socket::IP.
sub udp {
	my ($to, %how) = @_;
	my ($host, $port) = $to =~ /^(?:udp:)?\[?(.*?)\]?:(\d+)$/
	    or die "udp $to";
	return IO::Socket::IP->new(PeerHost => $host, PeerPort => $port,
	    Type => SOCK_DGRAM, Proto => 'udp', %how) // die "$to: $@";
}

# The next datagram that arrives, or undef after the deadline.
sub answer {
	my ($sock, $deadline) = (@_, $DEADLINE);
	return undef unless IO::Select->new($sock)->can_read($deadline);
	my $reply;
	return defined recv($sock, $reply, 70000, 0) ? $reply : undef;
}

# Sends datagrams until the server answers one. Returns whether it does.
sub wait_answers {
	my ($sock) = @_;
	return defined wait_until(sub {
		send $sock, 'up?', 0;
		defined answer($sock, 0.1)
	});
}

# Sends a datagram and returns the next one that arrives.
sub ask {
	my ($sock, $bytes) = @_;
	return undef unless defined send $sock, $bytes, 0;
	return answer($sock);
}

# Makes the server log its totals, and returns the last: a reference to
# { clients, answered, bytes, refused, dropped }.
sub totals {
	my ($server) = @_;
	my $n = () = $server->log =~ /^served /mg;
	$server->signal('USR1');
	$server->wait_log(qr/(?:^|\n)served /, $n + 1);
	return answered($server);
}

# The totals when the server has counted that many datagrams since its start. A
# client may receive its reply earlier, because a server counts a reply after it
# has sent it, and because another worker may still have datagrams.
sub counted {
	my ($server, $datagrams) = @_;
	my $totals;
	wait_until(sub {
		$totals = totals($server);
		$totals->{answered} + $totals->{refused} + $totals->{dropped}
		    >= $datagrams
	});
	return $totals;
}

# The last totals in the log.
sub answered {
	my ($server) = @_;
	my @last = $server->log =~ /.*^served\ (\d+)\ clients?,.*?;
	    \ answered\ (\d+)\ datagrams?,\ (\d+)\ bytes?;\ refused\ (\d+),
	    \ dropped\ (\d+)$/msx or return {};
	my %totals;
	@totals{qw(clients answered bytes refused dropped)} = @last;
	return \%totals;
}

# Sends a datagram with a source address of its choice, from a raw socket.
# Arguments: source and destination as "127.0.0.1:7", the TTL and the bytes.
# The checksum 0 means that there is none (RFC 768).
sub forge {
	my ($from, $to, $ttl, $bytes) = @_;
	my ($source, $source_port) = split /:/, $from;
	my ($host, $port) = split /:/, $to;
	socket my $raw, AF_INET, SOCK_RAW, 255 or die "raw socket: $!";
	my $size = 8 + length $bytes;
	my $packet = pack 'CCnnnCCna4a4nnnna*', 0x45, 0, 20 + $size, 0, 0, $ttl,
	    17, 0, inet_aton($source), inet_aton($host), $source_port, $port,
	    $size, 0, $bytes;
	defined send $raw, $packet, 0, pack_sockaddr_in(0, inet_aton($host))
	    or die "raw datagram: $!";
}

1;
