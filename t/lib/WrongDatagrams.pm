package WrongDatagrams;

# UDP echo servers that do not use the program, most of which have one fault.
# They test bench, which counts what is wrong.
#
#	my $server = start_wrong_udp('loses', 3);	# ->address, ->log
#
# This file is also the program that serves: WrongDatagrams.pm NAME [ARG]...
# When it ends by SIGTERM, it logs how many datagrams it has received.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use IO::Select ();
use Socket qw(:all);
use Time::HiRes qw(time);

our @EXPORT = qw(start_wrong_udp);

my $file = abs_path(__FILE__);

my ($sock, $other);	# in a server: its socket, and one with another port
my @later;		# in a server: what to send at a time, [time, code]

sub reply { send $sock, $_[0], 0, $_[1] }
sub later {
	@later = sort { $a->[0] <=> $b->[0] } @later, [time + $_[0], $_[1]];
}

# Replies to every $every-th datagram in a wrong way, and to all others
# correctly. The first datagram is answered correctly, because it may only test
# whether there is a server.
sub sometimes {
	my ($wrong) = @_;
	return sub {
		my ($bytes, $from, $n, $every, @more) = @_;
		$n % ($every // 1) || $n == 1 ? reply($bytes, $from) :
		    $wrong->($bytes, $from, @more);
	};
}

sub damaged {
	my ($bytes, $offset) = @_;
	substr($bytes, $offset, 1) ^= "\x20";
	return $bytes;
}

# Each server is a function. It is called with a datagram, its source, its
# number and the arguments of start_wrong_udp.
my %servers = (
	'echoes' => sub { reply(@_[0, 1]) },
	'loses' => sometimes(sub { }),
	'doubles' => sometimes(sub { reply(@_); reply(@_) }),
	'corrupts' => sometimes(sub { reply(damaged($_[0], $_[2]), $_[1]) }),
	'resizes' => sometimes(sub {
		my ($bytes, $from, $size) = @_;
		reply(substr($bytes . 'x' x 99, 0, $size), $from);
	}),
	'replies-from-another-port' => sometimes(sub {
		send $other, $_[0], 0, $_[1];
	}),
	'delays' => sometimes(sub {
		my ($bytes, $from, $seconds) = @_;
		later($seconds, sub { reply($bytes, $from) });
	}),

	# Of two datagrams that wait, the second is answered first.
	'swaps' => sub {
		my ($bytes, $from) = @_;
		recv $sock, my $next, 65536, 0 if IO::Select->new($sock)
		    ->can_read(0);
		reply($next, $from) if defined $next;
		reply($bytes, $from);
	},

	# Of ten datagrams, one is lost, one answered twice, one damaged, one
	# answered from another port, one late, one overtaken by others, and
	# with one comes another datagram.
	'has-all-faults' => sub {
		my ($bytes, $from, $n) = @_;
		reply($bytes, $from) for 1 .. (1, 0, 2, 0, 1, 0, 0, 0, 1, 1)
		    [$n % 10];
		reply(damaged($bytes, 40), $from) if $n % 10 == 3;
		send $other, $bytes, 0, $from if $n % 10 == 5;
		reply('?' x 50, $from) if $n % 10 == 4;
		later(0.06, sub { reply($bytes, $from) }) if $n % 10 == 6;
		later(0.001, sub { reply($bytes, $from) }) if $n % 10 == 7;
	},

	# The datagram of another client comes back.
	'crosses' => do {
		my ($last, $last_from) = ('');
		sub {
			my ($bytes, $from, $n) = @_;
			reply($n > 1 && $last_from ne $from ? $last : $bytes,
			    $from);
			($last, $last_from) = ($bytes, $from);
		};
	},

	'stops-answering' => sub {
		my ($bytes, $from, $n, $after) = @_;
		reply($bytes, $from) if $n <= $after;
	},
	'exits' => sub {
		my ($bytes, $from, $n, $after) = @_;
		exit 0 if $n > $after;
		reply($bytes, $from);
	},
	'floods' => sub {
		my ($bytes, $from, $n, $what) = @_;
		reply($bytes, $from) if $n == 1;
		return if $n != 2;
		1 while reply($what eq 'garbage' ? 'x' x 64 : $bytes, $from)
		    || 1;
	},
	'replies-from-another-address' => do {
		my $socket;
		sub {
			my ($bytes, $from) = @_;
			$socket //= open_socket(inet_aton('127.0.0.2'),
			    (unpack_sockaddr_in getsockname $sock)[0]);
			send $socket, $bytes, 0, $from;
		};
	}
);

sub open_socket {
	my ($address, $port) = @_;
	socket my $socket, AF_INET, SOCK_DGRAM, 0 or die "socket: $!";
	bind $socket, pack_sockaddr_in($port, $address) or die "bind: $!";
	return $socket;
}

# Starts one of these servers.
sub start_wrong_udp {
	my ($name, @args) = @_;
	die "no server $name" unless $servers{$name};
	require EchoTest;
	return EchoTest::start_command({ name => "server that $name" }, $^X,
	    $file, $name, @args);
}

sub serve {
	my ($name, @args) = @_;
	my $n = 0;
	$sock = open_socket(INADDR_LOOPBACK, 0);
	$other = open_socket(INADDR_LOOPBACK, 0);
	my ($port) = unpack_sockaddr_in getsockname $sock;
	local $SIG{TERM} = sub { print STDERR "received $n\n"; exit 0 };
	$| = 1;
	print "listening on udp:127.0.0.1:$port\n";
	my $ready = IO::Select->new($sock);
	while (1) {
		my $wait = @later ? $later[0][0] - time : undef;
		if ($ready->can_read(defined $wait && $wait < 0 ? 0 : $wait)) {
			my $from = recv $sock, my $bytes, 65536, 0;
			$servers{$name}->($bytes, $from, ++$n, @args)
			    if defined $from;
		}
		(shift @later)->[1]->() while @later && $later[0][0] <= time;
	}
}

serve(@ARGV) unless caller;

1;
