package DatagramServers;

# UDP echo servers that do not use the program: correct ones, and wrong ones
# with one fault each. The environment variable DATAGRAM_PORT gives the port.
#
#	my $server = start_datagrams('cut', 2048);	# ->address, ->log
#
# This file is also the program that serves: DatagramServers.pm NAME [ARG]...
# A server ends with the test, because its keeper kills it.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use Socket qw(:all);

our @EXPORT = qw(right_datagrams start_datagrams);

my $file = abs_path(__FILE__);

my $IP_RECVERR = 11;		# the socket option of Linux
my $SOL_IP = 0;

my ($socket, $port);		# in a server

# Each server is a function. It is called with a datagram and its sender, and
# with the arguments of start_datagrams. All servers ignore datagrams from their
# own port, so a server without another fault passes every test.
my (%first, %seen, @delayed, $held, $count);
my %servers = (
	'blocking' => sub { reply(@_[0, 1]) },

	# A child answers each datagram.
	'forking' => sub {
		my ($data, $from) = @_;
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			reply($data, $from);
			require POSIX;
			POSIX::_exit(0);
		}
		waitpid $pid, 0;
	},

	# Sends back only the first bytes of a long datagram.
	'cut' => sub { reply(substr($_[0], 0, $_[2]), $_[1]) },

	# Sends a long datagram back as several.
	'splits' => sub {
		my ($data, $from, $size) = @_;
		do { reply(substr($data, 0, $size, ''), $from) }
		    while $data ne '';
	},

	# Receives no datagram with more bytes than its buffer.
	'refuses-long' => sub { reply(@_[0, 1]) if length $_[0] <= $_[2] },
	'drops-empty' => sub { reply(@_[0, 1]) if $_[0] ne '' },

	'stops-at-empty' => sub {
		$count = 1 if $_[0] eq '';
		reply(@_[0, 1]) unless $count;
	},

	# Replies from another port.
	'other-port' => sub {
		our $other //= datagram_socket('127.0.0.1');
		send $other, $_[0], 0, $_[1];
	},
	'twice' => sub { reply(@_[0, 1]) for 1, 2 },

	# Joins the replies to two datagrams that arrive at the same time.
	'joins' => sub {
		my ($data, $from) = @_;
		my $r = '';
		vec($r, fileno $socket, 1) = 1;
		if (length $data < 1000 && select $r, undef, undef, 0.02) {
			my $next = recv $socket, my $more, 65536, 0;
			return reply($data . $more, $from)
			    if $next eq $from;
			reply($more, $next);
		}
		reply($data, $from);
	},
	'changes' => sub {
		my ($data, $from, $offset) = @_;
		substr($data, $offset, 1) ^= "\x01" if length $data > $offset;
		reply($data, $from);
	},
	'upper' => sub { reply(uc $_[0], $_[1]) },

	# Loses datagrams at random.
	'loses' => sub { reply(@_[0, 1]) if rand 100 >= $_[2] },

	# Answers at most one of the datagrams that wait.
	'loses-bursts' => sub {
		reply(@_[0, 1]);
		recv $socket, my $more, 65536, MSG_DONTWAIT for 1 .. 100;
	},
	'first-client' => sub {
		$first{client} //= $_[1];
		reply(@_[0, 1]) if $_[1] eq $first{client};
	},
	'first-ports' => sub {
		$seen{$_[1]} = 1 if keys %seen < $_[2];
		reply(@_[0, 1]) if $seen{$_[1]};
	},

	# Sends a reply to the previous client.
	'wrong-client' => sub {
		my ($data, $from) = @_;
		reply($data, length $data == 64 && $held ? $held : $from);
		$held = $from;
	},
	'constant' => sub { reply('hello', $_[1]) },
	'late' => sub { select undef, undef, undef, 0.003; reply(@_[0, 1]) },

	# Answers each fortieth datagram after thirty more have come.
	'overtakes' => sub {
		push @delayed, [ @_[0, 1] ] if ++$count % 40 == 0;
		reply(@_[0, 1]) if $count % 40 != 0;
		reply(@{ pop @delayed }) if $count % 40 == 30 && @delayed;
	},

	# Ends after some datagrams.
	'dies' => sub { reply(@_[0, 1]); exit 3 if ++$count >= $_[2] },
	'dies-of-icmp' => sub { reply(@_[0, 1]) },
	'any' => sub { reply(@_[0, 1]) },
	'answers-own-port' => sub { reply(@_[0, 1]) }
);

# The names of correct servers.
sub right_datagrams { qw(blocking forking late) }

# Starts a server on 127.0.0.1 or, if its name is any, on all addresses.
sub start_datagrams {
	my ($name, @args) = @_;
	require EchoTest;
	return EchoTest::start_command({ name => "UDP server that @_" },
	    $^X, $file, $name, @args);
}

sub reply { send $socket, $_[0], 0, $_[1] }

sub datagram_socket {
	my ($address, $at) = @_;
	socket my $s, PF_INET, SOCK_DGRAM, 0 or die "socket: $!";
	bind $s, pack_sockaddr_in($at // 0, inet_aton($address))
	    or die "bind: $!";
	return $s;
}

sub serve {
	my ($name, @args) = @_;
	my $server = $servers{$name} or die "no server $name\n";
	$socket = datagram_socket($name eq 'any' ? '0.0.0.0' : '127.0.0.1',
	    $ENV{DATAGRAM_PORT});
	# Without this option, ICMP errors do not reach the server.
	setsockopt $socket, $SOL_IP, $IP_RECVERR, 1 or die "IP_RECVERR: $!"
	    if $name eq 'dies-of-icmp';
	($port) = unpack_sockaddr_in(getsockname $socket);
	$| = 1;
	print "listening on udp:127.0.0.1:$port\n";
	while (defined(my $from = recv $socket, my $data, 65536, 0)) {
		my ($from_port) = unpack_sockaddr_in($from);
		$server->($data, $from, @args) 
		    if $from_port != $port || $name eq 'answers-own-port';
	}
	exit 1;
}

serve(@ARGV) unless caller;

1;
