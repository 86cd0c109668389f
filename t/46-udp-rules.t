# UDP: the source address and the TTL of a reply, and the datagrams that get no
# reply, so that two echo servers do not answer each other for ever. The test
# runs in its own network namespace, with its own addresses.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Datagrams;
use EchoTest;
use File::Temp ();
use IO::Select ();
use IO::Socket::IP ();
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep time);

my $reason = in_own_network();
plan skip_all => $reason if $reason;

sub works { system("($_[0]) >/dev/null 2>&1") == 0 }

# One address of IPv4 and one of IPv6, in addition to those of loopback. The
# interface has a broadcast address and link-local addresses.
works('ip addr add 192.0.2.9/32 dev lo') or
    plan skip_all => 'an address cannot be added here';
my $has_ipv6 = works('ip addr add 2001:db8::9/128 dev lo');
my $has_dummy = works('ip link add d0 type dummy') &&
    works('ip addr add 198.51.100.1/24 brd 198.51.100.255 dev d0') &&
    works('ip link set d0 up multicast on');
works('ip addr add fe80::9/64 dev d0 nodad') if $has_dummy;

my @addresses = ('127.0.0.1', '127.0.0.3', '192.0.2.9');
push @addresses, '[::1]', '[2001:db8::9]' if $has_ipv6;
push @addresses, '[fe80::9%d0]' if $has_ipv6 && $has_dummy;

sub raw { socket $_[0], AF_INET, SOCK_RAW, 255 }

# Asserts that the server has refused the n datagrams that it has received, and
# that the next one is answered, so that no reply can still come.
sub refused {
	my ($server, $n, $what) = @_;
	my $sock = udp($server->address);
	is ask($sock, 'next'), 'next', "$what: the next datagram is answered";
	my $totals = counted($server, $n + 1);
	is $totals->{refused}, $n, "$what: no reply, but counted";
	is $totals->{answered}, 1, "$what: nothing else is answered";
}

# The server listens on all interfaces; both of its sockets have the same port.
sub server_on_all {
	my ($engine, @more) = @_;
	return start_server({ listeners => $has_ipv6 ? 2 : 1 }, $engine, '-a',
	    'udp:*', '-q', @more);
}

sub test_addresses {
	my ($server) = @_;
	for my $host (@addresses) {
		my $sock = udp("$host:" . $server->port);
		is ask($sock, "to $host"), "to $host",
		    "a client that is connected to $host gets its reply";
	}
}

# The TTLs of the replies to datagrams with these TTLs, from the headers that a
# packet socket receives on loopback. The datagrams wait for the server, so that
# it receives them with one call.
sub ttls_of_replies {
	my ($family, $server, @ttls) = @_;
	my ($protocol, $level, $option, $at, $host) = $family == AF_INET ?
	    (0x0008, IPPROTO_IP, IP_TTL, 8, '127.0.0.1') :
	    (0xdd86, IPPROTO_IPV6, 16, 7, '[::1]');
	my $ports = $family == AF_INET ? 20 : 40;
	socket my $packets, 17, SOCK_DGRAM, $protocol or return undef;
	my $sock = udp("$host:" . $server->port);
	my @processes = $server->processes;
	kill STOP => @processes;
	for my $i (0 .. $#ttls) {
		setsockopt $sock, $level, $option, $ttls[$i];
		send $sock, "ttl $i of $$", 0;
	}
	kill CONT => @processes;
	my @replies = ('no reply') x @ttls;
	my ($missing, $until) = (scalar @ttls, time + $DEADLINE);
	while ($missing > 0 && time < $until &&
	    IO::Select->new($packets)->can_read(1)) {
		recv $packets, my $packet, 70000, 0;
		next unless $packet =~ /ttl (\d+) of \Q$$\E$/;
		my $i = $1;
		my ($from) = unpack 'n', substr $packet, $ports, 2;
		next if $from != $server->port;
		$replies[$i] = unpack 'C', substr $packet, $at, 1;
		$missing--;
	}
	return join ' ', @replies;
}

sub test_ttl {
	my ($server) = @_;
	SKIP: {
		socket my $packets, 17, SOCK_DGRAM, 8 or
		    skip 'packet sockets are not permitted here', 2;
		my @ttls = (64, 41, 64, 255, 63, 65, 2, 64);
		my $lower = join ' ', map { $_ - 1 } @ttls;
		is ttls_of_replies(AF_INET, $server, @ttls), $lower,
		    'the TTL of each reply is one less than that received';
		skip 'there is no IPv6 here', 1 unless $has_ipv6;
		is ttls_of_replies(AF_INET6, $server, @ttls), $lower,
		    'the same is true of the hop limit';
	}
}

sub test_last_hop {
	my ($server) = @_;
	my $sock = udp('127.0.0.1:' . $server->port);
	setsockopt $sock, IPPROTO_IP, IP_TTL, 1;
	send $sock, 'last hop', 0;
	setsockopt $sock, IPPROTO_IP, IP_TTL, 2;
	is ask($sock, 'two hops'), 'two hops',
	    'a datagram with TTL 2 is answered, one with TTL 1 is not';
	is counted($server, 2)->{dropped}, 1,
	    'the latter is dropped and counted';
}

sub test_source_ports {
	my ($server) = @_;
	my $tried = 0;
	for my $port (7, 19, 53, 1023, 0, $server->port) {
		if (raw(my $sock)) {
			forge("127.0.0.2:$port", '127.0.0.1:' . $server->port,
			    64, "from port $port");
			$tried++;
		}
	}
	SKIP: {
		skip 'raw sockets are not permitted here', 3 unless $tried;
		refused($server, 6,
		    'source ports 0, 7, 19, 53, 1023 and the own port');
	}
}

sub test_group_addresses {
	my ($server) = @_;
	my $sent = 0;
	socket my $sock, AF_INET, SOCK_DGRAM, 0 or die $!;
	setsockopt $sock, SOL_SOCKET, SO_BROADCAST, 1;
	setsockopt $sock, IPPROTO_IP, IP_MULTICAST_IF,
	    inet_aton('198.51.100.1');
	for my $to ('127.255.255.255', $has_dummy ? ('198.51.100.255',
	    '255.255.255.255', '224.0.0.1') : ()) {
		$sent++ if defined send $sock, "to $to", 0,
		    pack_sockaddr_in($server->port, inet_aton($to));
	}
	SKIP: {
		skip 'there is no second interface', 1
		    unless $has_dummy && $has_ipv6;
		socket my $six, AF_INET6, SOCK_DGRAM, 0 or die $!;
		$sent++ if defined send $six, 'to all nodes', 0,
		    pack_sockaddr_in6($server->port, inet_pton(AF_INET6,
		    'ff02::1'), interface('d0'));
	}
	cmp_ok $sent, '>', 0, 'datagrams to groups are sent';
	refused($server, $sent, 'broadcast and multicast addresses');
	ok !IO::Select->new($sock)->can_read(0),
	    'the sender to the groups gets no reply';
}

sub interface { slurp("/sys/class/net/$_[0]/ifindex") + 0 }

my %tests = (
	addresses => \&test_addresses,
	TTL => \&test_ttl,
	'the last hop' => \&test_last_hop,
	'source ports' => \&test_source_ports,
	'broadcast and multicast' => \&test_group_addresses,
);
for my $engine (engines_but('--select', '--uring')) {
	for my $name (sort keys %tests) {
		subtest "$engine: $name" => sub {
			my $server = server_on_all($engine);
			$tests{$name}->($server);
			$server->stop;
		};
	}
}

# A forged datagram between our server and the echo service of an inetd, in both
# directions.
sub test_inetd {
	my ($name, $options, $services) = @_;
	my $tmp = File::Temp->newdir;
	open my $conf, '>', "$tmp/conf" or die $!;
	print $conf $services;
	close $conf;
	my $inetd = spawn(sub {
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec $name, split ' ', $options =~ s/DIR/$tmp/gr;
	});
	my $probe = udp('127.0.0.1:7');
	ok wait_answers($probe), "$name answers";
	my $server = start_server(usual_engine(), '-q', '-u');
	my $own = '127.0.0.1:' . $server->port;
	forge('127.0.0.1:7', $own, 64, "as if from $name");
	forge($own, '127.0.0.1:7', 64, 'as if from us');
	ok defined wait_until(sub { totals($server)->{refused} == 2 }),
	    'the datagrams from port 7 are refused';
	is totals($server)->{answered}, 0, 'none is answered';
	$server->stop;
	end_processes($inetd);
}

# The rest does not depend on the engine.
subtest 'a server with one address' => sub {
	for my $host (@addresses) {
		my $server = start_server(usual_engine(), '-q', '-a',
		    "udp:$host:0");
		my $sock = udp("$host:" . $server->port);
		setsockopt $sock, IPPROTO_IP, IP_TTL, 1 if $host !~ /:/;
		send $sock, 'last hop', 0 if $host !~ /:/;
		setsockopt $sock, IPPROTO_IP, IP_TTL, 2 if $host !~ /:/;
		is ask($sock, "to $host"), "to $host", "$host answers";
		is counted($server, 1)->{dropped}, $host =~ /:/ ? 0 : 1,
		    "$host: a datagram with TTL 1 is dropped";
		$server->stop;
	}
};

subtest 'a server whose address is that of a group' => sub {
	for my $group ('127.255.255.255', $has_dummy ? ('198.51.100.255',
	    '224.0.0.1') : ()) {
		my $server = start_server(usual_engine(), '-q', '-a',
		    "udp:$group:0");
		socket my $sock, AF_INET, SOCK_DGRAM, 0 or die $!;
		setsockopt $sock, SOL_SOCKET, SO_BROADCAST, 1;
		setsockopt $sock, IPPROTO_IP, IP_MULTICAST_IF,
		    inet_aton('198.51.100.1');
		send $sock, 'to the group', 0,
		    pack_sockaddr_in($server->port, inet_aton($group));
		is counted($server, 1)->{refused}, 1,
		    "$group: a datagram is refused";
		$server->stop;
	}
};

SKIP: {
	raw(my $sock) or skip 'raw sockets are not permitted here', 1;

	subtest '--any-source and --ttl' => sub {
		my $server = start_server(usual_engine(), '-q', '-u', '--any-source',
		    '--ttl=9');
		forge("127.0.0.2:$_", '127.0.0.1:' . $server->port, 64, 'x')
		    for 7, $server->port, 0;
		is ask(udp($server->address), 'next'), 'next',
		    'the next datagram is answered';
		my $totals = totals($server);
		is $totals->{answered}, 3, 'every source port is answered';
		is $totals->{refused}, 1, 'except 0';
		is ttls_of_replies(AF_INET, $server, 64), 9,
		    'the TTL is that of --ttl';
		$server->stop;
	};

	subtest 'a loop between two servers' => sub {
		my @servers = map { start_server(usual_engine(), '-q', '-u') } 1, 2;
		forge($servers[0]->address =~ s/udp://r,
		    $servers[1]->address =~ s/udp://r, 255, 'for ever?');
		ok defined wait_until(sub {
			grep { totals($_)->{dropped} == 1 } @servers
		}), 'it ends with a datagram that has no TTL left';
		my @totals = map { totals($_) } @servers;
		is $totals[0]{answered} + $totals[1]{answered}, 254,
		    'after 254 replies';
		$_->stop for @servers;
		is answered($servers[0])->{answered} +
		    answered($servers[1])->{answered}, 254, 'for good';
	};

	# Debian installs only one of the two at a time.
	my %inetd = (xinetd => [ '-dontfork -f DIR/conf -pidfile DIR/pid',
	    <<'END' ],
service echo
{
	type = INTERNAL
	id = echo-dgram
	socket_type = dgram
	protocol = udp
	user = root
	wait = yes
	disable = no
}
END
	    'inetutils-inetd' => [ '--debug --pidfile=DIR/pid DIR/conf',
	    "echo dgram udp wait root internal\n" ]);
	for my $name (sort keys %inetd) {
		subtest "a loop with the echo service of $name" => sub {
			plan skip_all => "there is no $name"
			    unless grep { -x "$_/$name" } split /:/, $ENV{PATH};
			test_inetd($name, @{ $inetd{$name} });
		};
	}

	subtest 'a loop with a server that sets a fresh TTL' => sub {
		plan skip_all => 'there is no socat'
		    if run_command('socat', '-V')->{status} != 0;
		my ($port) = unpack_sockaddr_in(getsockname(
		    IO::Socket::IP->new(LocalHost => '127.0.0.1',
		    Type => SOCK_DGRAM, Proto => 'udp')));
		my $socat = spawn(sub {
			open STDERR, '>', '/dev/null';
			exec 'socat', "UDP4-RECVFROM:$port,bind=127.0.0.1,fork",
			    'PIPE';
		});
		my $probe = udp("127.0.0.1:$port");
		ok wait_answers($probe), 'socat answers';
		my $server = start_server(usual_engine(), '-q', '-u');
		forge("127.0.0.1:$port", '127.0.0.1:' . $server->port, 64,
		    'for ever');
		ok defined wait_until(sub {
			totals($server)->{answered} > 300
		}), 'it goes on after 254 replies';
		$server->stop;

		my $rate = 20;
		$server = start_server(usual_engine(), '-q', '-u',
		    "--reply-rate=$rate");
		my $start = time;
		my $own = '127.0.0.1:' . $server->port;
		# Several loops at once, each of which a dropped reply ends.
		for (1 .. 5) {
			forge("127.0.0.1:$port", $own, 64, "loop $_")
			    for 1 .. 20;
			sleep 0.25;
		}
		my $totals = totals($server);
		cmp_ok $totals->{answered}, '<=', $rate * (2 + time - $start),
		    '--reply-rate limits it';
		cmp_ok $totals->{answered}, '>=', $rate, 'but does not stop it';
		cmp_ok $totals->{dropped}, '>', 0, 'the others are dropped';
		$server->stop;
		end_processes($socat);
	};
}

subtest '--reply-rate is for each address' => sub {
	my $server = server_on_all(usual_engine() . ' --workers=2', '--reply-rate=3');
	my @socks = map { udp('127.0.0.1:' . $server->port,
	    LocalHost => "127.0.0.$_") } 11 .. 30;
	# Enough in any second, even if another begins meanwhile.
	send $socks[0], 'many', 0 for 1 .. 50;
	is ask($_, 'few'), 'few', $_->sockhost . ' is answered'
	    for @socks[1 .. $#socks];
	my $totals = counted($server, 69);
	is $totals->{answered} + $totals->{dropped}, 69,
	    'each datagram is answered or dropped';
	cmp_ok $totals->{dropped}, '>', 0,
	    'datagrams of the address that sends many are dropped';
	$server->stop;
};

done_testing;
