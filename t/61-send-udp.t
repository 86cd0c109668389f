# Mode send with UDP: how messages and standard input become datagrams, and how
# it judges replies that are right, wrong, late, lost, surplus or from another
# address.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Datagrams;
use EchoTest;
use Fcntl qw(O_NONBLOCK);
use IO::Socket::IP ();
use JSON::PP qw(decode_json);
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep time);

my $identical = 'identical, in \d[\d.]* m?s';

sub sends {
	my ($how, $address, @args) = @_;
	return run_echo({ deadline => $DEADLINE, %$how }, 'send', '-a',
	    $address, @args);
}

# Asserts the exit status, the one line on stderr (a pattern in which ADDR is the
# address) and stdout (undef: any).
sub ends {
	my ($r, $status, $address, $line, $out, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$line =~ s/ADDR/\Q$address\E/;
	$line = "echo send: $line" if $status != 0;
	is $r->{status}, $status, "$name: exit status";
	like $r->{err}, $line eq '' ? qr/\A\z/ : qr/\A(?:$line)\n\z/,
	    "$name: message";
	is_bytes $r->{out}, $out, "$name: reply" if defined $out;
}

# Starts a server that calls a function for each datagram, with its socket, the
# number of the datagram from 1, its bytes and the client's address. Returns the
# address and the process id.
sub start_udp {
	my ($answer) = @_;
	my $sock = IO::Socket::IP->new(LocalHost => '127.0.0.1',
	    LocalPort => 0, Type => SOCK_DGRAM, Proto => 'udp') or die $@;
	my $pid = spawn(sub {
		for (my $n = 1; defined $sock; $n++) {
			my $from = recv $sock, my $bytes, 70000, 0;
			$answer->($sock, $n, $bytes, $from) // undef $sock;
		}
	});
	return 'udp:127.0.0.1:' . $sock->sockport, $pid;
}

# Runs the client against such a server.
sub sends_to {
	my ($answer, $how, @args) = @_;
	my ($address, $pid) = start_udp($answer);
	my $run = sends($how, $address, @args);
	end_processes($pid);
	return $run, $address;
}

# Another socket, which sends from its own address.
sub stranger {
	my ($host) = @_;
	return IO::Socket::IP->new(LocalHost => $host, LocalPort => 0,
	    Type => SOCK_DGRAM, Proto => 'udp') // die $@;
}

my $server = start_server(usual_engine(), '-q', '-a', 'udp:127.0.0.1');
my $address = $server->address;

subtest 'messages' => sub {
	my $utf8 = "Gr\xc3\xbc\xc3\x9fe";
	my @words = (
		[ ['This is', 'a test.'], "This is a test.\n" ],
		[ ['-n', 'a', 'b'], 'a b' ], [ ['x'], "x\n" ],
		[ [''], "\n" ], [ ['-n', ''], '' ], [ [$utf8], "$utf8\n" ],
		map { [ [ 'x' x $_ ], 'x' x $_ . "\n" ] } 1472, 1473, 65507
	);
	for (@words) {
		my ($args, $out) = @$_;
		my $n = length($out) - ($args->[0] ne '-n');
		my $bytes = $n == 1 ? '1 byte' : "$n bytes";
		ends sends({}, $address, @$args), 0, $address,
		    "ADDR returned $bytes, $identical", $out,
		    show("@$args", 20);
	}
	my $port = $server->port;
	ends run_echo('send', '-u', '-p', $port, 'x'), 0, $address,
	    "ADDR returned 1 byte, $identical", "x\n", '-u and -p';
	ends run_echo('send', '--udp', '-a', "127.0.0.1:$port", 'x'), 0,
	    $address, "ADDR returned 1 byte, $identical", "x\n", '--udp';
	is run_echo('send', '-u', '-a', "tcp:127.0.0.1:$port", 'x')->{status},
	    4, 'tcp: is stronger than -u';
	ends sends({}, $address, '-q', 'x'), 0, $address, '', "x\n", '-q';
	ends sends({}, $address, '-v', 'x'), 0, $address,
	    'sending to ADDR from udp:127\.0\.0\.1:\d+\n' .
	    "\Q$address\E returned 1 byte, $identical", "x\n", '-v';
	ends sends({}, $address, '-t0', 'x'), 0, $address,
	    "ADDR returned 1 byte, $identical", "x\n", '-t0';
};

subtest 'standard input' => sub {
	my $log = start_command({ name => 'faulty' }, program(), 'faulty', '-u',
	    'lose=0', '--port=0');
	my $to = $log->address;
	my $sizes = sub {
		my ($in, @args) = @_;
		my $before = length $log->log;
		my $run = sends({ in => $in }, $to, @args);
		is $run->{status}, 0, 'exit status';
		is_bytes $run->{out}, $in, 'all bytes, and no newline';
		return $run->{err}, join ' ', substr($log->log, $before) =~
		    / sent (\d+) bytes?: /g;
	};
	my $bytes = pattern(3000);
	my ($err, $got) = $sizes->($bytes);
	is $got, '1400 1400 200', 'datagrams of 1400 bytes';
	like $err, qr/\A\Q$to\E returned 3000 bytes in 3 datagrams, $identical\n\z/,
	    'their number is printed';
	is +($sizes->(pattern(2800)))[1], '1400 1400', 'no empty one at the end';
	is +($sizes->($bytes, '-'))[1], '1400 1400 200', '-';
	is +($sizes->('abc', '--size=1'))[1], '1 1 1', '--size=1';
	is +($sizes->($bytes, '--size=4k'))[1], '3000', '--size=4k';
	is +($sizes->(pattern(65508), '--size', 65507))[1], '65507 1',
	    '--size=65507';
	($err, $got) = $sizes->('');
	is $got, '0', 'an empty input is an empty datagram';
	like $err, qr/ returned 0 bytes, $identical$/m, 'it comes back';

	# Pieces that arrive one by one are collected.
	for my $flags (0, O_NONBLOCK) {
		my $piped = run_command('sh', '-c', '(printf a; sleep 0.2; ' .
		    'printf b) | "$@"', 'sh', $^X, '-MFcntl', '-e',
		    "fcntl STDIN, F_SETFL, $flags; exec \@ARGV", program(),
		    'send', '-a', $to);
		is $piped->{out}, 'ab', "two writes to a pipe, flags $flags";
		like $piped->{err}, qr/ returned 2 bytes, identical/,
		    'they are one datagram';
	}
	$log->allow(qr/: "lose=0"$/);
	$log->stop;
};

subtest 'IPv6' => sub {
	my $v6 = eval { start_server(usual_engine(), '-q', '-a', 'udp:[::1]') };
	plan skip_all => 'no IPv6 here' unless $v6;
	my $to = $v6->address;
	for my $size (0, 1, 65507, 65527) {
		my $bytes = pattern($size);
		ends sends({ in => $bytes }, $to, '--size=65527'), 0, $to,
		    "ADDR returned $size bytes?, $identical", $bytes,
		    "$size bytes";
	}
	ends sends({}, $to, 'x' x 65528), 2, $to, 'MESSAGE has 65528 bytes; ' .
	    'a datagram to ADDR has at most 65527 \(.*', '', '65528 bytes';
	$v6->stop;
};

subtest 'usage errors' => sub {
	ends sends({}, $address, 'x' x 65508), 2, $address, 'MESSAGE has 65508 ' .
	    'bytes; a datagram to ADDR has at most 65507 \(.*', '',
	    'a message of 65508 bytes';
	ends sends({}, $address, '--size=65508'), 2, $address, '--size: a ' .
	    'datagram to ADDR has at most 65507 bytes, not 65508 \(.*', '',
	    '--size=65508';
	for my $option ('size=5', 'retries=1') {
		my ($name) = $option =~ /(\w+)/;
		ends run_echo('send', "--$option", 'x'), 2, '',
		    "--$name is an option of UDP \\(-u\\) .*", '',
		    "--$option without UDP";
	}
	ends run_echo('send', '-u', '-a', 'unix:/tmp/x', 'x'), 2, '',
	    '--address: .*a Unix socket .*', '', 'a Unix socket';
};

subtest 'no server' => sub {
	my $closed = stranger('127.0.0.1');	# connected, so it refuses
	my $port = $closed->sockport;
	connect $closed, pack_sockaddr_in(9, inet_aton('127.0.0.9')) or die $!;
	my $refused = 'failed after 0 of 1 datagrams: Connection refused ' .
	    '\(ICMP port unreachable: .*';
	for my $args (['x'], ['-q', '--retries=3', '-t10s', 'x'], ['']) {
		my $run = sends({}, "udp:127.0.0.1:$port", @$args);
		ends $run, 4, "udp:127.0.0.1:$port", "ADDR $refused", '',
		    "a closed port, @$args";
		cmp_ok $run->{time}, '<', 9, 'at once';
	}
	my $json = decode_json(sends({}, "udp:127.0.0.1:$port", '--json',
	    'abc')->{err});
	delete $json->{duration_ms};
	like delete $json->{reason}, qr/^$refused$/, 'JSON: the reason';
	is_deeply $json, { server => "udp:127.0.0.1:$port", sent => 3,
	    returned => 0, identical => JSON::PP::false, status => 4 },
	    'JSON: the rest';
	ends sends({}, 'udp:nosuch.invalid:7', 'x'), 3, '',
	    'cannot resolve "nosuch\.invalid": .*', '', 'an unknown name';
	ends sends({}, 'udp:255.255.255.255:7', 'x'), 7, '',
	    'cannot connect to udp:255\.255\.255\.255:7: Permission denied',
	    '', 'broadcast';

	my ($run, $to) = sends_to(sub {
		my ($sock, $n, $bytes, $from) = @_;
		send $sock, $bytes, 0, $from if $n == 1;
		return $n == 1 ? 1 : undef;
	}, { in => 'ab' }, '--size=1', '-t1s');
	ends $run, 5, $to, 'ADDR lost 1 of 2 datagrams: received no reply to ' .
	    'datagram 2 within 1\.0 s', 'a', 'the second one is lost';

	# Like a TCP client, a UDP client may get the port to which it sends.
	my @alone = ('unshare', '-rn', 'sh', '-c', 'ip link set lo up && ' .
	    'echo 40001 40001 >/proc/sys/net/ipv4/ip_local_port_range && ' .
	    'exec "$@"', 'sh');
	SKIP: {
		skip 'no permission for a network of its own', 1
		    if run_command(@alone, 'true')->{status};
		ends sends({ wrap => \@alone }, 'udp:127.0.0.1:40001', 'x'), 4,
		    '', '.*: Connection refused.*', '',
		    'a client that is connected to itself';
	}
};

subtest 'lost datagrams and --retries' => sub {
	my $mute = sub { 1 };
	my ($run, $to) = sends_to($mute, {}, '-t200ms', 'x');
	ends $run, 5, $to, 'ADDR lost 1 of 1 datagram: received no reply to ' .
	    'datagram 1 within 200\.0 ms', '', 'no reply';
	($run, $to) = sends_to($mute, {}, '-q', '-t200ms', '--retries=2', 'x');
	ends $run, 5, $to, 'ADDR lost 1 of 1 datagram: received no reply to ' .
	    'datagram 1 within 200\.0 ms each of the 3 times', '',
	    'no reply, two retries';
	is_between $run->{time}, 0.6, $DEADLINE / 2, 'it has tried three times';

	# The reply to the third try.
	my $third = sub {
		my ($sock, $n, $bytes, $from) = @_;
		return $n % 3 == 0 ? send $sock, $bytes, 0, $from : 1;
	};
	($run, $to) = sends_to($third, { in => 'ab' }, '--size=1', '-t1s',
	    '--retries=2');
	ends $run, 0, $to, "ADDR returned 2 bytes in 2 datagrams, $identical " .
	    '\(4 sent again\)', 'ab', 'two datagrams, each three times';
	($run, $to) = sends_to($third, { in => 'ab' }, '--size=1', '-t1s',
	    '--retries=1');
	ends $run, 5, $to, 'ADDR lost 1 of 1 datagram: .*', '',
	    'one try less than needed';
};

# The first try is answered when the second datagram has come.
subtest 'late duplicates after a retry' => sub {
	my ($late, $late_from);
	my $delayed = sub {
		my ($sock, $n, $bytes, $from) = @_;
		$late = $bytes if $n == 1;
		return 1 if $n == 1;
		send $sock, $late, 0, $from if $n > 2;
		$late = undef if $n > 3;
		return send $sock, $bytes, 0, $from;
	};
	my ($run, $to) = sends_to($delayed, { in => 'abc' }, '--size=1',
	    '-t1s', '--retries=1');
	ends $run, 1, $to, 'ADDR returned datagram 1 twice', undef,
	    'a second late reply to two tries is one too many';
	my $once = sub {
		my ($sock, $n, $bytes, $from) = @_;
		$late = $bytes if $n == 1;
		return 1 if $n == 1;
		send $sock, $late, 0, $from if $n == 3;
		return send $sock, $bytes, 0, $from;
	};
	($run, $to) = sends_to($once, { in => 'abc' }, '--size=1', '-t1s',
	    '--retries=1');
	ends $run, 0, $to, "ADDR returned 3 bytes in 3 datagrams, $identical " .
	    '\(1 sent again\)', 'abc', 'the reply to each try is correct';
	# The second of equal datagrams is lost once.
	($run, $to) = sends_to(sub {
		my ($sock, $n, $bytes, $from) = @_;
		return 1 if $n == 2;
		send $sock, $bytes, 0, $from if $n == 4;
		return send $sock, $bytes, 0, $from;
	}, { in => 'aaa' }, '--size=1', '-t1s', '--retries=1');
	ends $run, 0, $to, "ADDR returned 3 bytes in 3 datagrams, $identical " .
	    '\(1 sent again\)', 'aaa', 'so it is with equal datagrams';
	($run, $to) = sends_to(sub {
		my ($sock, $n, $bytes, $from) = @_;
		return 1 if $n == 1;
		send $sock, $bytes, 0, $from for 1, 2;
		return 1;
	}, {}, '-t1s', '--retries=1', 'last');
	ends $run, 0, $to, "ADDR returned 4 bytes, $identical .*", "last\n",
	    'so it is after the last datagram';
};

subtest 'wrong replies' => sub {
	my $answers = sub {
		my (@answers) = @_;
		return sub {
			my ($sock, $n, $bytes, $from) = @_;
			send $sock, s/=/$bytes/r, 0, $from for @answers;
			return 1;
		};
	};
	my @cases = (
		[ ['axc'], 'differs at byte 2: sent 0x62, got 0x78', "axc\n" ],
		[ ['=!'], 'sent 1 byte too many after 3', "abc!\n" ],
		[ ['ab'], 'returned only 2 of 3 bytes', "ab\n" ],
		[ [''], 'returned only 0 of 3 bytes', '' ],
		[ ['=', '='], 'returned datagram 1 twice', "abcabc\n" ],
		[ ['=', 'more'], 'sent a datagram of 4 bytes too many',
		    "abcmore\n" ],
		[ ['=', ''], 'sent a datagram of 0 bytes too many', "abc\n" ]
	);
	for (@cases) {
		my ($replies, $line, $out) = @$_;
		my ($run, $to) = sends_to($answers->(@$replies), {}, 'abc');
		ends $run, 1, $to, "ADDR $line", $out, $line;
	}
	my ($run, $to) = sends_to($answers->('x'), {}, '');
	ends $run, 1, $to, 'ADDR sent 1 byte too many after 0', "x\n",
	    'a reply to an empty datagram';
	($run, $to) = sends_to(sub {
		my ($sock, $n, $bytes, $from) = @_;
		$bytes =~ tr/f/F/;
		return send $sock, $bytes, 0, $from;
	}, { in => 'abcdefg' }, '--size=3');
	ends $run, 1, $to, 'ADDR differs at byte 3 of datagram 2: sent 0x66, ' .
	    'got 0x46', 'abcdeF', 'the second of three datagrams';
	($run, $to) = sends_to($answers->('=', '='), { in => 'abcd' },
	    '--size=2');
	ends $run, 1, $to, 'ADDR returned datagram 1 twice', undef,
	    'a duplicate while the next reply is awaited';
	measure_again(sub {
		($run, $to) = sends_to(sub {
			my ($sock, $n, $bytes, $from) = @_;
			send $sock, $bytes, 0, $from;
			sleep 0.1;
			return send $sock, 'late', 0, $from;
		}, {}, 'abc');
		return $run->{status};
	}, sub { $_[0] != 0 });
	ends $run, 1, $to, 'ADDR sent a datagram of 4 bytes too many',
	    "abclate\n", 'surplus 100 ms after the reply';
};

subtest 'other addresses' => sub {
	for my $host ('127.0.0.1', '127.0.0.2') {
		my $other = stranger($host);
		my $name = "udp:$host:" . $other->sockport;
		my $from_other = sub {
			my ($sock, $n, $bytes, $from) = @_;
			return send $other, $bytes, 0, $from;
		};
		my ($run, $to) = sends_to($from_other, {}, '-t300ms', 'abc');
		ends $run, 5, $to, 'ADDR lost 1 of 1 datagram: received no ' .
		    "reply .*; 3 bytes came from $name, which does not count",
		    '', "only a reply from $host";
		my ($both, $at) = start_udp(sub {
			send $_[0], $_[2], 0, $_[3]
			    if $from_other->(@_);
		});
		$run = sends({}, $both, 'abc');
		is $run->{status}, 0, 'a reply of each: exit status';
		is $run->{out}, "abc\n", 'the reply of the server';
		like $run->{err}, qr/\Aecho\ send:\ 3\ bytes\ came\ from\ $name,
		    \ which\ does\ not\ count\n\Q$both\E\ returned/x,
		    'the other one is reported';
		is sends({}, $both, '--json', 'abc')->{err} =~ tr/\n//, 1,
		    'with --json there is one line';
		end_processes($at);
	}
	# Such datagrams do not extend the timeout.
	my $other = stranger('127.0.0.1');
	at_most(3, sub {
		my ($run) = sends_to(sub {
			my ($sock, $n, $bytes, $from) = @_;
			my $until = time + 4;
			while (time < $until) {
				send $other, 'x', 0, $from;
				sleep 0.001;
			}
			return 1;
		}, {}, '-t300ms', 'abc');
		return $run->{time};
	}, 'the timeout, although another address sends all the time');
};

subtest 'local failures and signals' => sub {
	my $stdout = '.*standard output: \w.*';
	SKIP: {
		skip 'no /dev/full', 1 unless -c '/dev/full';
		ends sends({ out => '/dev/full' }, $address, 'x'), 7, '',
		    $stdout, '', 'stdout on a full disk';
		ends sends({ out => '/dev/full', in => 'x' }, $address), 7, '',
		    $stdout, '', 'stdout on a full disk, stdin';
	}
	ends sends({ wrap => ['sh', '-c', 'exec "$@" <&-', 'sh'] }, $address),
	    7, '', '.*standard input: \w.*', '', 'stdin closed';
	ends sends({ wrap => ['sh', '-c', 'exec "$@" 2>&-', 'sh'] }, $address,
	    'x'), 0, '', '', "x\n", 'stderr closed';

	my $mute = start_command({ name => 'faulty' }, program(), 'faulty',
	    '-u', 'mute', '--port=0');
	my $client = spawn(sub {
		open STDOUT, '>', '/dev/null';
		exec program(), 'send', '-t0', '-a', $mute->address, 'x';
	});
	ok $mute->wait_log(qr/ sent 1 byte: /), 'a client waits for a reply';
	kill INT => $client;
	waitpid $client, 0;
	is $? & 127, 2, 'Ctrl-C ends it';
	$mute->allow(qr/ sent 1 byte: "mute", not answered$/);
	$mute->stop;
};

$server->stop;
done_testing;
