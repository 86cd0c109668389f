# Mode faulty with UDP: each fault as a client observes it, and a correct echo
# otherwise; the options and signals; the message of send for each fault.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Datagrams;
use EchoTest;
use IO::Select ();
use IO::Socket::IP ();
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(time);

my $all_bytes = join '', map { chr } 0 .. 255;

sub start_faulty {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = (qw(faulty -u --port=0), @_);
	return start_command({ name => "@args", %how }, @{ $how{wrap} // [] },
	    program(), @args);
}

# Starts a server, calls a function with a socket and the server, and stops it.
sub with_faulty {
	my (@args) = @_;
	my $test = pop @args;
	my $server = start_faulty('-q', @args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$test->(udp($server->address), $server);
	$server->stop;
}

# The next n datagrams, joined by commas.
sub answers {
	my ($sock, $n) = @_;
	return join ',', map { answer($sock) // 'nothing' } 1 .. $n;
}

# Sends datagrams and asserts the answers to them, in order and no others; the
# last question shows the end, as no fault of these tests changes it.
sub returns {
	my ($sock, $sent, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	send $sock, $_, 0 for @$sent, '!';
	my @got = map { answer($sock) } 0 .. @$expected;
	is_deeply \@got, [@$expected, '!'], $name or
	    diag map { show($_) . "\n" } @got;
}

# Faults that change the bytes or the number of answers.
my @cases = (
	[ 'corrupt=2', ['abcd', '', 'ab'], ['abdd', '', 'ab'] ],
	[ 'corrupt=255', [$all_bytes], [$all_bytes =~ s/\xff\z/\0/r] ],
	[ 'drop=1', ['abc', 'xyz', 'a'], ['ac', 'xz', 'a'] ],
	[ 'double=1', ['abc', 'a'], ['abbc', 'a'] ],
	[ 'swap=1', ['abc', 'ab', ''], ['acb', 'ab', ''] ],
	[ 'upper', ["abc\xe4", $all_bytes],
	    ["ABC\xe4", $all_bytes =~ tr/a-z/A-Z/r] ],
	[ 'crlf', ["a\nb\n"], ["a\r\nb\r\n"] ],
	[ 'strip', ["  a b \n", " \n", ''], ['  a b', '', ''] ],
	[ 'text', ["\xc3\xa9", "\xe9", "\xc3", 'a'], ["\xc3\xa9", 'a'] ],
	[ 'pieces=3', ['abcdefg', 'abc', ''], [qw(abc def g abc), ''] ],
	[ 'lose=0', ['a', 'b'], ['a', 'b'] ],
	[ 'cut=4', ['abcdef', 'abc', ''], ['abcd', 'abc', ''] ],
	[ 'upper,cut=2,crlf', ["a\nb"], ["A\r"] ]
);
for (@cases) {
	my ($fault, $sent, $expected) = @$_;
	subtest $fault => sub {
		with_faulty($fault, sub {
			returns($_[0], $sent, $expected,
			    'the answers to ' . @$sent . ' datagrams');
		});
	};
}

subtest 'corrupt without an offset' => sub {
	with_faulty('corrupt', '--seed=1', sub {
		my ($sock) = @_;
		my (%places, @wrong);
		for (1 .. 60) {
			my $got = ask($sock, 'aaaa') // '';
			$got =~ /^a*(?=ba*$)/ && length $got == 4 ?
			    $places{$+[0]}++ : push @wrong, $got;
		}
		is "@wrong", '', 'one byte is wrong in each datagram';
		is join(' ', sort keys %places), '0 1 2 3', 'any byte';
		is ask($sock, ''), '', 'an empty datagram comes back';
	});
};

subtest 'double without an offset' => sub {
	with_faulty('double', sub {
		my ($sock) = @_;
		send $sock, $_, 0 for 'ab', '';
		is answers($sock, 4), 'ab,ab,,', 'each datagram comes twice';
	});
};

subtest 'constant' => sub {
	with_faulty('constant=no', sub {
		is ask($_[0], $_), 'no', 'the answer to ' . show($_, 10)
		    for 'abc', '', $all_bytes;
	});
};

subtest 'mute' => sub {
	with_faulty('mute', '--every=2', sub {
		my ($sock) = @_;
		send $sock, $_, 0 for 1 .. 5;
		is answers($sock, 3), '1,3,5', 'no answer to every second one';
	});
};

subtest 'delay' => sub {
	with_faulty('delay=300ms', sub {
		my ($sock) = @_;
		my $start = time;
		send $sock, $_, 0 for 1 .. 50;
		is answers($sock, 50), join(',', 1 .. 50),
		    'all answers, in order';
		is_between time - $start, 0.3, 5,
		    'the delays of 50 datagrams are not added up';
	});
};

subtest 'reorder' => sub {
	with_faulty('reorder,delay=1s', sub {
		my ($sock, $server) = @_;
		my $other = udp($server->address);
		send $sock, 1, 0;
		send $other, $_, 0 for 'a', 'b';
		send $sock, $_, 0 for 2 .. 4;
		is answers($sock, 4), '2,1,4,3', 'pairs are exchanged';
		is answers($other, 2), 'b,a', 'for each client separately';
	});
	with_faulty('reorder', sub {
		my ($sock) = @_;
		is ask($sock, 'x'), 'x', 'a datagram that stays alone: late';
		is ask($sock, 'y'), 'y', 'and the next one';
	});
};

subtest 'other-source' => sub {
	my $server = start_faulty('-q', 'other-source', '--every=2');
	my $sock = IO::Socket::IP->new(LocalHost => '127.0.0.1',
	    Type => SOCK_DGRAM, Proto => 'udp') or die $@;
	my $to = pack_sockaddr_in($server->port, INADDR_LOOPBACK);
	my @ports = map {
		send $sock, $_, 0, $to;
		IO::Select->new($sock)->can_read($DEADLINE) or die 'no answer';
		my $from = recv $sock, my $got, 100, 0;
		is $got, $_, "datagram $_ comes back";
		(unpack_sockaddr_in($from))[0];
	} 1 .. 4;
	is $ports[$_], $server->port, 'a correct one comes from the port asked'
	    for 0, 2;
	isnt $ports[$_], $server->port, 'a faulty one from another port'
	    for 1, 3;
	$server->stop;
};

subtest 'lose and --seed' => sub {
	with_faulty('lose=100', '--every=3', sub {
		my ($sock) = @_;
		send $sock, $_, 0 for 1 .. 7;
		is answers($sock, 5), '1,2,4,5,7', '--every';
	});
	my $server = start_faulty('lose=30', '--seed=5');
	my $sock = udp($server->address);
	for my $n (1 .. 1000) {
		send $sock, $n, 0;
		$server->wait_log(qr/sent \d/, $n) if $n % 100 == 0;
	}
	my $lost = () = $server->log =~ /: "lose=30", not answered$/mg;
	is_between $lost, 230, 370, 'datagrams of 1000 that are lost';
	my @first = map { /not answered/ ? 1 : 0 }
	    split /\n/, $server->log;
	$server->allow(qr/ sent \d bytes?: "lose=30"/);
	$server->stop;
	$server = start_faulty('lose=30', '--seed=5');
	$sock = udp($server->address);
	send $sock, $_, 0 for 1 .. 50;
	$server->wait_log(qr/sent \d/, 50);
	my @again = map { /not answered/ ? 1 : 0 }
	    split /\n/, $server->log;
	is "@again", "@first[0 .. 49]", 'a seed repeats the choices';
	$server->allow(qr/ sent \d bytes?: "lose=30"/);
	$server->stop;
};

subtest 'sizes' => sub {
	with_faulty('lose=0', sub {
		is_bytes ask($_[0], pattern($_)), pattern($_), "$_ bytes"
		    for 0, 1, 1472, 1473, 9000, 65507;
	});
	my $v6 = eval { start_faulty('-q', 'upper', '-a', '[::1]') };
	SKIP: {
		skip 'no IPv6 here', 1 unless $v6;
		like $v6->address, qr/^udp:\[::1\]:\d+$/, 'IPv6: the address';
		is ask(udp($v6->address), 'x' x 65527), 'X' x 65527,
		    'IPv6: 65527 bytes';
		$v6->stop;
	}
};

subtest 'addresses' => sub {
	with_faulty('upper', sub {
		my ($sock, $server) = @_;
		like $server->address, qr/^udp:127\.0\.0\.1:\d+$/,
		    'the default, with udp:';
		my $run = run_echo('faulty', 'mute', '-a', $server->address);
		is $run->{status}, 7, 'an address that is in use: exit status';
		like $run->{err}, qr/^echo faulty: cannot listen on udp:\S+: Address already in use \(/,
		    'an address that is in use: message';
	});
	# A connected client receives only what comes from the address asked.
	my $server = start_faulty('-q', 'upper', '-a', '*');
	for my $host ('127.0.0.1', '127.0.0.3') {
		is ask(udp("$host:" . $server->port), 'a'), 'A',
		    "*: the answer of $host";
	}
	$server->stop;
	$server = start_command({ name => 'faulty' }, program(), 'faulty', '-q',
	    'upper', '-a', 'udp:127.0.0.1:0');
	is ask(udp($server->address), 'a'), 'A', '-a udp: without -u';
	$server->stop;
};

subtest 'a loop with another echo server is not possible' => sub {
	SKIP: {
		my $low = IO::Socket::IP->new(LocalHost => '127.0.0.1',
		    LocalPort => 7, Type => SOCK_DGRAM, Proto => 'udp');
		skip 'port 7 cannot be had here', 1 unless $low;
		with_faulty('upper', sub {
			my ($sock, $server) = @_;
			send $low, 'x', 0, pack_sockaddr_in($server->port,
			    INADDR_LOOPBACK);
			is ask($sock, 'a'), 'A', 'other ports are answered';
			ok !defined answer($low, 0), 'port 7 is not';
		});
	}
};

subtest '--count' => sub {
	my $server = start_faulty('-q', 'delay=200ms', '-n', 3);
	my $sock = udp($server->address);
	send $sock, $_, 0 for 1 .. 3;
	is answers($sock, 3), '1,2,3', 'three datagrams are answered';
	$server->stop(undef);
	is $server->{status}, 0, 'then it exits';
};

subtest 'the log' => sub {
	my $server = start_faulty('-v', '--every=2', 'upper,corrupt=0-9');
	my $sock = udp($server->address);
	my $name = $sock->sockhost . ':' . $sock->sockport;
	ask($sock, 'a' x 10) for 1, 2;
	ok $server->wait_log(qr/^\Q$name\E sent 10 bytes: correct$/m),
	    'a correct one';
	ok $server->wait_log(qr/^\Q$name\E sent 10 bytes: "upper,corrupt=0-9", corrupt=\d$/m),
	    'a faulty one, with the random offset';
	ok $server->wait_log(qr/^\Q$name\E answered with 10 bytes$/m, 2),
	    '-v: the answers';
	$server->allow(qr/^\Q$name\E (?:sent|answered)/);
	$server->stop;
	$server = start_faulty('-q', 'upper');
	ask(udp($server->address), 'a');
	is $server->log, '', 'no line with -q';
	$server->stop;
};

subtest 'an ICMP error does not end it' => sub {
	with_faulty('upper', sub {
		my ($sock, $server) = @_;
		for (1 .. 20) {
			my $gone = udp($server->address);
			send $gone, 'x', 0;
		}
		is ask($sock, 'a'), 'A', 'others are answered';
	});
};

for my $signal (qw(TERM INT)) {
	subtest "SIG$signal" => sub {
		my $server = start_faulty('delay=1h');
		my $sock = udp($server->address);
		for my $n (1 .. 1100) {
			send $sock, $n, 0;
			$server->wait_log(qr/ sent \d/, $n)
			    if $n % 100 == 0 && $n <= 1000;
		}
		$server->allow(qr/ sent \d bytes?: "delay=1h"$/);
		$server->stop($signal);
		my $received = () = $server->log =~ / sent \d/g;
		is $received, 1000, 'at most 1000 answers wait';
	};
}

# Usage errors.
my %refused = (
	'delay' => qr/delay needs a value: delay=TIME/,
	'cut' => qr/cut needs a value: cut=SIZE/,
	'lose' => qr/lose needs a value: lose=PERCENT/,
	'lose=101' => qr/lose: "101" is not a number from 0 to 100/,
	'lose=x' => qr/lose: "x" is not a number from 0 to 100/,
	'corrupt=' => qr/corrupt needs a value: corrupt=OFFSET/,
	'reorder=1' => qr/reorder takes no value, not "1"/,
	'loose' => qr/unknown fault "loose", perhaps lose; --list/,
	'mute,lose=5' => qr/mute and lose cannot be combined/,
	'corrupt,double' => qr/corrupt and double cannot be combined/,
	map { s/=.*//r => qr/\Q$_\E is a fault of TCP and Unix sockets, not of UDP/ }
	    qw(line banner once short gather rate deaf close reset lost-tail
	    no-fin one-client)
);
subtest 'usage errors' => sub {
	for my $faults (sort keys %refused) {
		for (['-u'], ['-a', 'udp:127.0.0.1:0']) {
			my $run = run_echo('faulty', '--port=0', @$_, $faults);
			is $run->{status}, 2, "$faults: exit status";
			like $run->{err},
			    qr/\Aecho faulty: $refused{$faults}.*\n\z/,
			    "$faults: message";
		}
	}
	is run_echo('faulty', '-u', 'upper', '-a', 'unix:/tmp/x')->{status}, 2,
	    'a Unix socket: exit status';
};

# The exit status and the message of send for each fault of --list.
my %value_of = map { /^(\S+) +(\S+) +\S*udp\b/ }
    split /\n/, run_echo('faulty', '--list')->{out};
my $message = "fifteen letters\xc3\xa9\nfourteen here ";
my %value = (OFFSET => 5, SIZE => 7, TIME => '200ms', TEXT => 'no',
    PERCENT => 100);
my $identical = qr/returned 32 bytes, identical/;
my $differs = qr/differs at byte/;
my $lost = qr/lost 1 of 1 datagram: received no reply to datagram 1 within/;
my %said = (
	corrupt => [1, qr/$differs 6: sent 0x65, got 0x66/],
	drop => [1, qr/$differs 6: sent 0x65, got 0x6e/],
	double => [1, qr/$differs 7: sent 0x6e, got 0x65/],
	swap => [1, qr/$differs 6: sent 0x65, got 0x6e/],
	upper => [1, qr/$differs 1: sent 0x66, got 0x46/],
	text => [0, $identical],
	crlf => [1, qr/$differs 18: sent 0x0a, got 0x0d/],
	strip => [1, qr/returned only 31 of 32 bytes/],
	constant => [1, qr/$differs 1: sent 0x66, got 0x6e/],
	pieces => [1, qr/returned only 7 of 32 bytes/],
	delay => [0, $identical],
	mute => [5, $lost],
	lose => [5, $lost],
	reorder => [0, $identical],
	cut => [1, qr/returned only 7 of 32 bytes/],
	'other-source' => [5, qr/$lost .*; 32 bytes came from udp:127/]
);
subtest 'send with each fault' => sub {
	is join(' ', sort keys %said), join(' ', sort keys %value_of),
	    'the table has each fault of --list';
	for my $fault (sort keys %value_of) {
		my ($status, $says) = @{ $said{$fault} // [0, qr/^$/] };
		my $value = $value{$value_of{$fault}};
		my $given = defined $value ? "$fault=$value" : $fault;
		with_faulty($given, sub {
			my $run = run_echo('send', '-t1s', '-a',
			    $_[1]->address, $message);
			is $run->{status}, $status, "$given: exit status";
			like $run->{err}, $says, "$given: message";
		});
	}
	for (['double', 1, qr/returned datagram 1 twice/],
	    ['corrupt', 1, $differs]) {
		my ($fault, $status, $says) = @$_;
		with_faulty($fault, sub {
			my $run = run_echo('send', '-a', $_[1]->address, 'abc');
			is $run->{status}, $status, "$fault: exit status";
			like $run->{err}, $says, "$fault: message";
		});
	}
	with_faulty('lose=100', '--every=2', sub {
		my $run = run_echo({ in => 'abcd' }, 'send', '--size=1',
		    '--retries=1', '-t1s', '-a', $_[1]->address);
		is $run->{status}, 0, 'lose and --retries: exit status';
		is $run->{out}, 'abcd', 'lose and --retries: all bytes';
		like $run->{err}, qr/ \(3 sent again\)$/m,
		    'lose and --retries: message';
	});
};

done_testing;
