# Mode faulty: each fault as a client observes it, and a correct echo otherwise;
# the options, misbehaving clients, limits and signals; the message of send for
# each fault.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Select ();
use IO::Socket::UNIX ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

my $RESET = 'Connection reset by peer';
my $sanitized = sanitized();
my $all_bytes = join '', map { chr } 0 .. 255;
my $long = pattern(200_000);

sub start_faulty {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = (qw(faulty --port=0), @_);
	my $server = start_command({ name => "@args", %how },
	    @{ $how{wrap} // [] }, program(), @args);
	# A child that is killed while it looks for leaks at its end.
	$server->allow(qr/^==\d+==Unable to get registers from thread /)
	    if $sanitized;
	return $server;
}

# Starts a server, calls a function with it, and stops it.
sub with_faulty {
	my (@args) = @_;
	my $test = pop @args;
	my $server = start_faulty('-q', @args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$test->($server);
	$server->stop;
}

# Whether a connection has neither data nor an end for some time.
sub is_silent { !IO::Select->new($_[0])->can_read($_[1] // 0.3) }

# Sends a message and half-closes, with writes of at most $piece bytes; asserts
# what comes back and how the connection ends.
sub returns {
	my ($server, $message, $expected, $end, $name, %how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($got, $how) = exchange(dial($server), $message, undef,
	    half_close => 1, %how);
	is_bytes $got, $expected, "$name: bytes";
	is $how, $end, "$name: end";
}

# The servers have no process but the parent once all clients have left.
sub no_children {
	my ($server, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok defined wait_until(sub { !$server->workers }), $name;
}

my @list = split /\n/, run_echo('faulty', '--list')->{out};
# The faults of connections; t/87-faulty-udp.t tests the faults of datagrams.
my %value_of = map { /^(\S+) +(\S+) +(?:tcp\b)/ } @list;

# The message that a fault with an offset sends back, computed in Perl; undef if
# the message is too short to be changed.
my %changes = (
	corrupt => sub {
		my ($bytes, $at) = @_;
		substr($bytes, $at, 1) =
		    chr((1 + ord substr $bytes, $at, 1) % 256);
		return $bytes;
	},
	drop => sub { substr($_[0], 0, $_[1]) . substr $_[0], 1 + $_[1] },
	double => sub { substr($_[0], 0, 1 + $_[1]) . substr $_[0], $_[1] },
	swap => sub {
		my ($bytes, $at) = @_;
		return substr($bytes, 0, $at) .
		    reverse(substr $bytes, $at, 2) .
		    (length $bytes > $at + 2 ? substr $bytes, $at + 2 : '');
	}
);

for my $fault (sort keys %changes) {
	my $change = $changes{$fault};
	subtest $fault => sub {
		for my $at (0, 1, 17, 65535, 65536, 199_998, 199_999) {
			with_faulty("$fault=$at", sub {
				my ($server) = @_;
				returns($server, $long, $change->($long, $at),
				    'eof', "byte $at of 200000");
				my $start = substr $long, 0, 100;
				returns($server, $start, $at < 100 ?
				    $change->($start, $at) : $start, 'eof',
				    "byte $at of 100, each in its own write",
				    piece => 1);
				returns($server, '', '', 'eof', 'no byte');
			});
		}
		with_faulty("$fault=99", sub {
			my ($server) = @_;
			# A byte 255 that becomes 0.
			returns($server, $all_bytes,
			    $change->($all_bytes, 99), 'eof', 'all bytes');
			returns($server, "\xff" x 100,
			    $change->("\xff" x 100, 99), 'eof', 'bytes 255');
		});
	};
}

subtest 'swap: a byte is kept until the next one comes' => sub {
	with_faulty('swap=2', sub {
		my $client = dial($_[0]);
		put($client, 'abc');
		is get($client, 2), 'ab', 'the bytes before it';
		ok is_silent($client), 'not the byte';
		put($client, 'de');
		is get($client, 3), 'dce', 'it comes after the next one';
	});
};

# Faults that change all bytes.
my @streams = (
	['upper', $all_bytes, $all_bytes =~ tr/a-z/A-Z/r],
	['upper', "Gr\xc3\xbc\xc3\x9fe", "GR\xc3\xbc\xc3\x9fE"],
	['crlf', "\na\r\n\n\0", "\r\na\r\r\n\r\n\0"],
	['crlf', "\n" x 100_000, "\r\n" x 100_000],
	['strip', "  a b \n\t\x0b\x0c\r ", '  a b'],
	['strip', " \n", ''],
	['upper,crlf', "ab\ncd", "AB\r\nCD"],
	['double=2,upper,crlf', "ab\ncd", "AB\r\n\nCD"],
	['strip,corrupt=1', "abc \n", 'acc']
);
subtest 'upper, crlf, strip' => sub {
	for (@streams) {
		my ($faults, $message, $expected) = @$_;
		with_faulty($faults, sub {
			returns($_[0], $message, $expected, 'eof',
			    "$faults of " . show($message, 20));
		});
	}
	with_faulty('strip', sub {
		my $client = dial($_[0]);
		is exchange($client, "a \n", 1), 'a', 'strip: the first read';
		put($client, " \n");
		ok is_silent($client), 'strip: nothing is left of the second';
		is exchange($client, ' b ', 2), ' b', 'strip: the third read';
	});
};

subtest 'text' => sub {
	with_faulty('text', sub {
		my ($server) = @_;
		my $valid = ('a' x 14) . "\xc3\xa9";
		returns($server, $valid x 3, $valid x 3, 'eof',
		    'whole characters in each read');
		my $client = dial($server);
		is exchange($client, $valid, 16), $valid, 'a valid read';
		is join(' ', exchange($client, "\xff", undef)), ' eof',
		    'a byte that is not UTF-8 ends the connection';
		$client = dial($server);
		put($client, "\xc3");
		is join(' ', get_all($client)), ' eof',
		    'so does a part of a character';
		is scalar(exchange(dial($server), ('a' x 15) . "\xc3\xa9",
		    undef)), '', 'and a character across 16 bytes';
		is exchange(dial($server), 'abc', 3), 'abc',
		    'other clients are served';
	});
	with_faulty('once=1024,text', sub {
		my $text = ('a' x 15) . "\xc3\xa9" x 20;
		is exchange(dial($_[0]), $text, undef), $text,
		    'with once, a read is as long as its size';
	});
};

subtest 'line' => sub {
	with_faulty('line', sub {
		my ($server) = @_;
		my $client = dial($server);
		put($client, 'ab');
		ok is_silent($client), 'no answer to a part of a line';
		is exchange($client, "c\nd\nef", 6), "abc\nd\n",
		    'complete lines are answered';
		returns($server, "\n\nab", "\n\n", 'eof',
		    'the rest is not answered at the end');
		my $line = 'x' x 3_000_000 . "\n";
		returns($server, $line, $line, 'eof', 'a long line');
	});
};

subtest 'banner and constant' => sub {
	with_faulty("banner=220 ready\r\n", sub {
		my $client = dial($_[0]);
		is get($client, 11), "220 ready\r\n",
		    'the banner comes before anything is sent';
		is exchange($client, $all_bytes, 256), $all_bytes,
		    'then the echo';
	});
	with_faulty('constant=message received', sub {
		my $client = dial($_[0]);
		is exchange($client, $_, 16), 'message received',
		    'the answer to ' . show($_, 10)
		    for 'a', $all_bytes, "\0";
	});
};

subtest 'once' => sub {
	with_faulty('once=5', sub {
		my ($server) = @_;
		is join(' ', exchange(dial($server), 'abcdefgh', undef)),
		    "abcde $RESET", 'more than one read';
		is join(' ', exchange(dial($server), 'abc', undef)), 'abc eof',
		    'less than one read';
		returns($server, '', '', 'eof', 'no byte');
	});
};

subtest 'short' => sub {
	with_faulty('short', sub {
		my ($server) = @_;
		my $client = dial($server);
		is exchange($client, 'x' x 32, 32), 'x' x 32, '32 bytes';
		ok is_silent($client), 'the connection stays open';
		is join(' ', exchange($client, 'abc', undef)), 'abc eof',
		    'after a short read it is closed';
		my ($got, $end) = exchange(dial($server), 'x' x 15, undef);
		is "$got $end", 'x' x 15 . ' eof', '15 bytes';
		returns($server, '', '', 'eof', 'no byte');
	});
};

subtest 'gather' => sub {
	with_faulty('gather', sub {
		my ($server) = @_;
		my $client = dial($server);
		put($client, 'x' x 32);
		ok is_silent($client), 'no answer to 32 bytes';
		is join(' ', exchange($client, 'abc', undef)),
		    'x' x 32 . 'abc eof', 'a short read is answered';
		returns($server, 'y' x 48, 'y' x 48, 'eof', 'a half-close too');
		returns($server, '', '', 'eof', 'no byte');
	});
};

# These are correct echoes.
subtest 'pieces, delay and rate' => sub {
	for my $fault ('pieces=7', 'delay=50ms', 'rate=1M',
	    'pieces=1,delay=1ms') {
		with_faulty($fault, sub {
			my ($server) = @_;
			returns($server, $_, $_, 'eof', "$fault, " .
			    length($_) . ' bytes')
			    for '', $all_bytes, $long;
		});
	}
	with_faulty('pieces=3', sub {
		my ($server) = @_;
		is measure_again(sub {
			my $client = dial($server);
			put($client, 'abcdefgh');
			IO::Select->new($client)->can_read($DEADLINE);
			sysread $client, my $first, 100;
			my $rest = get($client, 8 - length $first);
			return "$first $rest";
		}, sub { $_[0] eq 'abc defgh' }), 'abc defgh',
		    'pieces=3: the first piece has 3 bytes';
	});
	with_faulty('delay=300ms', sub {
		my ($server) = @_;
		cmp_ok seconds_of(sub {
			my $client = dial($server);
			exchange($client, $_, 5) for 'hello', 'again';
		}), '>=', 0.6, 'delay: each answer is late';
		at_most(10, sub { seconds_of(sub {
			exchange(dial($server), $long x 20, undef,
			    half_close => 1)
		}) }, 'delay: but not each read of a stream');
	});
	with_faulty('rate=100', sub {
		my ($server) = @_;
		cmp_ok seconds_of(sub {
			exchange(dial($server), 'x' x 60, 60);
		}), '>=', 0.4, 'rate: at most 100 bytes per second';
	});
};

subtest 'mute' => sub {
	with_faulty('mute', sub {
		my ($server) = @_;
		returns($server, $long x 20, '', 'eof',
		    'all is read and nothing comes back');
		my $client = dial($server);
		put($client, 'hello');
		ok is_silent($client), 'the connection stays open until then';
	});
	with_faulty('mute,banner=hi', sub {
		returns($_[0], 'hello', 'hi', 'eof', 'with a banner');
	});
};

subtest 'deaf' => sub {
	with_faulty('deaf', sub {
		my ($server) = @_;
		my $client = dial($server);
		my $sent = fill($client, $long, 0.5);
		ok is_silent($client, 0), "nothing happens after $sent bytes";
		shutdown $client, 1;
		ok is_silent($client), 'nor after a half-close';
		reset_connection($client);
		no_children($server, 'the process ends with the connection');
	});
};

subtest 'close and reset' => sub {
	my $message = substr $long, 0, 5000;
	for my $at (0, 1, 16, 1000, 4999, 5000) {
		with_faulty("close=$at", sub {
			my ($server) = @_;
			my $client = dial($server);
			my ($got, $end) = exchange($client, $message, undef);
			is_bytes $got, substr($message, 0, $at),
			    "close=$at: bytes";
			is $end, 'eof', "close=$at: FIN";
			ok put($client, $message),
			    "close=$at: more input is no error";
			close $client;
			no_children($server, 'its process ends');
		});
		with_faulty("reset=$at", sub {
			my ($server) = @_;
			my ($got, $end) = eval {
				my $client = dial($server);
				put($client, $message) if $at;
				get_all($client)
			};
			# The RST may come before connect has returned.
			($got, $end) = ('', $RESET) if $@ =~ /: $RESET at /;
			is_bytes $got, substr($message, 0, $at),
			    "reset=$at: bytes";
			is $end, $RESET, "reset=$at: RST";
		});
	}
	with_faulty('close=6000', sub {
		returns($_[0], $message, $message, 'eof',
		    'a message that is shorter');
	});
	with_faulty('reset=150000', sub {
		my $client = dial($_[0]);
		put($client, substr $long, 0, 150_000);
		sleep 0.3;	# nothing is read: it waits for the client
		my ($got, $end) = get_all($client);
		is_bytes $got, substr($long, 0, 150_000),
		    'all bytes before a RST arrive';
		is $end, $RESET, 'then the RST';
	});
	with_faulty('upper,close=3', sub {
		returns($_[0], 'abcdef', 'ABC', 'eof', 'with another fault');
	});
};

subtest 'lost-tail' => sub {
	with_faulty('lost-tail', sub {
		my ($server) = @_;
		my $client = dial($server);
		is exchange($client, $_, 5), $_, 'an answer is only late'
		    for 'hello', 'again';
		is measure_again(sub {
			join ' ', exchange(dial($server), 'hello', undef,
			    half_close => 1)
		}, sub { $_[0] eq ' eof' }), ' eof',
		    'it is lost if the client half-closes at once';
	});
};

subtest 'no-fin' => sub {
	with_faulty('no-fin', sub {
		my ($server) = @_;
		my $client = dial($server);
		is exchange($client, 'hello', 5, half_close => 1), 'hello',
		    'the echo';
		ok is_silent($client), 'no FIN';
		reset_connection($client);
		no_children($server, 'a RST ends it');
	});
	with_faulty('short,no-fin', sub {
		my $client = dial($_[0]);
		is exchange($client, 'hello', 5), 'hello', 'with short';
		put($client, 'hello');
		ok is_silent($client), 'with short: no second answer, no FIN';
	});
};

subtest 'one-client' => sub {
	my $server = start_faulty('-q', 'one-client');
	my $first = dial($server);
	is exchange($first, 'first', 5), 'first', 'the first is served';
	my $second = dial($server);
	put($second, 'second');
	ok is_silent($second), 'the second one is not';
	is exchange($first, 'more', 4), 'more', 'the first is still served';
	close $first;
	isnt +(get_all($second))[1], 'late', 'the second connection ends';
	$server->stop(undef);
	ok refuses_connections($server), 'then connections are refused';

	$server = start_faulty('-q', 'one-client', '--every=2');
	my @clients = map { dial($server) } 1 .. 3;
	is exchange($clients[$_], 'hello', 5), 'hello', "every=2: client $_"
	    for 0, 1;
	put($clients[2], 'hello');
	ok is_silent($clients[2]), 'every=2: the third waits';
	close $_ for @clients;
	$server->stop(undef);
};

# Large messages.
subtest '64 MiB' => sub {
	my $size = 64 << 20;
	with_faulty('corrupt=50000000', sub {
		my ($server) = @_;
		my $message = "\0\xff" . 'x' x ($size - 2);
		my $got = exchange(dial($server), $message, undef,
		    half_close => 1);
		is length $got, $size, 'size';
		is substr($got, 50_000_000, 1, 'x'), 'y', 'the wrong byte';
		ok $got eq $message, 'all others are correct';
	});
	my $server = start_faulty('line');
	my ($got, $end) = exchange(dial($server), 'x' x ($size + 65536), undef);
	is $got, '', 'a line of more than 64 MiB: no answer';
	isnt $end, 'late', 'a line of more than 64 MiB: the connection ends';
	ok $server->wait_log(qr/too long to be collected/), 'the log says why';
	is exchange(dial($server), "a\n", 2), "a\n", 'the server goes on';
	$server->allow(qr/./);
	$server->stop;
};

# Which of n connections, one after another, are faulty (upper).
sub faulty_ones {
	my ($server, $n) = @_;
	return join ' ', grep {
		exchange(dial($server), 'a', 1) eq 'A'
	} 1 .. $n;
}

subtest '--every' => sub {
	with_faulty('upper', '--every=3', sub {
		is faulty_ones($_[0], 7), '3 6', 'every third one';
	});
	with_faulty('upper', '--every=1', sub {
		is faulty_ones($_[0], 3), '1 2 3', 'every one';
	});
};

subtest '--count' => sub {
	my $server = start_faulty('-q', 'upper', '-n', 3);
	my @clients = map { dial($server) } 1 .. 3;
	is exchange($_, 'a', 1), 'A', 'a client is served' for @clients;
	ok refuses_connections($server), 'the fourth is refused';
	is exchange($clients[0], 'b', 1), 'B', 'the others are still served';
	close $_ for @clients;
	$server->stop(undef);
	is $server->{status}, 0, 'it exits when they have left';
};

# The offsets that the log shows for n connections, and those that the clients
# find.
sub offsets {
	my ($n, @args) = @_;
	my $server = start_faulty('corrupt=10-29', @args);
	$server->allow(qr/^\S+ connected: "corrupt=10-29", corrupt=\d+$/);
	my @found = map {
		my $got = exchange(dial($server), 'a' x 40, 40);
		$got =~ /^a*(?=ba*$)/ ? $+[0] : "wrong: $got";
	} 1 .. $n;
	my @logged = $server->log =~ /, corrupt=(\d+)$/mg;
	$server->stop;
	is "@found", "@logged", 'the clients find the offsets of the log';
	return @found;
}

subtest 'random offsets and --seed' => sub {
	my @once = offsets(100, '--seed=7');
	is join(' ', offsets(100, '--seed=7')), "@once",
	    'the same seed gives the same offsets';
	isnt join(' ', offsets(100, '--seed=8')), "@once",
	    'another seed gives others';
	isnt join(' ', offsets(100)), join(' ', offsets(100)),
	    'without a seed each run is different';
	my %seen = map { $_ => 1 } @once, offsets(200, '--seed=1');
	is join(' ', sort { $a <=> $b } keys %seen), join(' ', 10 .. 29),
	    'all offsets of the range occur, and no other';
	my @with_every = offsets(1, '--seed=7');
	is "@with_every", $once[0], 'the number of connections does not matter';
};

subtest 'the log' => sub {
	my $server = start_faulty('-v', '--every=2', "upper,banner=\e[31m\n");
	for my $n (1, 2) {
		my $client = dial($server);
		my $name = $client->sockhost . ':' . $client->sockport;
		exchange($client, 'abc', undef, half_close => 1);
		ok $server->wait_log(qr/^\Q$name connected: \E@{[$n == 1 ?
		    'correct' : '"upper,banner=\\\\x1b\[31m\\\\x0a"']}$/m),
		    "connection $n: its faults";
		my $sent = $n == 1 ? 3 : 9;
		ok $server->wait_log(
		    qr/^\Q$name closed: received 3, sent $sent bytes\E$/m),
		    "connection $n: its end";
	}
	$server->allow(qr/^127\.0\.0\.1:\d+ (?:connected|closed): /);
	$server->stop;

	$server = start_faulty('-q', 'upper');
	exchange(dial($server), 'abc', 3);
	is $server->log, '', 'no line with -q';
	$server->stop;
};

subtest 'a log that is not read does not stop the service' => sub {
	pipe my $reader, my $writer or die $!;
	$writer->blocking(0);
	1 while syswrite $writer, 'x' x 4096;
	$writer->blocking(1);
	my $server = start_faulty({ log => $writer }, '-v', 'upper');
	is exchange(dial($server), 'abc', undef, half_close => 1), 'ABC',
	    "client $_ is served" for 1 .. 3;
	$server->signal('TERM');
	is $server->wait, 0, 'SIGTERM ends it';
};

# Clients that misbehave.
subtest 'clients do not delay each other' => sub {
	with_faulty('upper', sub {
		my ($server) = @_;
		my $stuck = dial($server);
		fill($stuck, 'x' x 65536, 0.5);
		my @flood = flood($server);
		my @gone = map { dial($server) } 1 .. 20;
		put($_, $long) for @gone;
		reset_connection($_) for @gone;
		is exchange(dial($server), 'abc', 3), 'ABC', "client $_"
		    for 1 .. 3;
		end_processes(@flood);
		close $stuck;
		no_children($server, 'no process is left without a client');
	});
};

SKIP: {
	skip 'fewer than 600 descriptors', 1
	    if POSIX::sysconf(POSIX::_SC_OPEN_MAX()) < 600;
	subtest 'at most 500 clients at once' => sub { limit_of_clients() };
}

sub limit_of_clients {
	my $server = start_faulty('-q', 'upper');
	my @clients = map { dial($server) } 1 .. 501;
	put($clients[500], 'abc');
	is exchange($clients[499], 'abc', 3), 'ABC', 'the last that is served';
	is scalar($server->workers), 500, '500 processes';
	ok is_silent($clients[500]), 'the next client waits';
	close $clients[0];
	is get($clients[500], 3), 'ABC', 'until one leaves';
	my @children = $server->workers;
	$server->stop;
	is scalar(grep { !process_gone($_) } @children), 0,
	    'no process is left';
}

SKIP: {
	my $server = start_faulty('upper');
	$server->allow(qr/connected|cannot accept clients/);
	skip 'prlimit is not permitted', 1
	    unless $server->limit_descriptors(4);
	subtest 'no free descriptor' => sub {
		my $client = dial($server);
		put($client, 'abc');
		ok $server->wait_log(qr/cannot accept clients: Too many open/),
		    'the log says so';
		at_most(0.3, sub { cpu_of_busiest(1, $server) },
		    'the server does not spin');
		my $lines = () = $server->log =~ /\n/g;
		is $lines, 1, 'it says so once';
		$server->limit_descriptors(64);
		is get($client, 3), 'ABC', 'it recovers';
		# A sanitizer needs descriptors when the program exits.
		$server->limit_descriptors(4) unless $sanitized;
		my $waiting = dial($server);
		$server->stop;
	};
}

subtest 'accept fails' => sub {
	my $server = start_faulty({ wrap => shimmed('accept=ENFILE:2') },
	    'upper');
	$server->allow(qr/connected|cannot accept clients: /);
	is exchange(dial($server), 'abc', 3), 'ABC', 'it tries again';
	$server->stop;
};

SKIP: {
	skip 'no /dev/full', 1 unless -c '/dev/full';
	is run_echo({ out => '/dev/full' }, qw(faulty mute --port=0))->{status},
	    7, 'the address cannot be printed: exit status';
}

# The addresses on which it listens.
subtest 'addresses' => sub {
	with_faulty('upper', sub {
		like $_[0]->address, qr/^127\.0\.0\.1:\d+$/, 'the default';
		my $run = run_echo('faulty', 'mute', '-a', $_[0]->address);
		is $run->{status}, 7, 'an address that is in use: exit status';
		like $run->{err}, qr/^echo faulty: cannot listen on (\S+): Address already in use \(/,
		    'an address that is in use: message';
	});
	my $server = start_faulty({ wrap => shimmed('noipv6') }, '-q', 'upper',
	    '-a', 'localhost:0');
	like $server->address, qr/^127\.0\.0\.1:/,
	    'localhost without IPv6 is 127.0.0.1';
	is exchange(dial($server), 'a', 1), 'A', 'it is served';
	$server->stop;
	my $run = run_command(@{ shimmed('noipv6') }, program(), 'faulty',
	    'mute', '-a', '[::1]:0');
	is $run->{status}, 7, '::1 without IPv6: exit status';
	like $run->{err}, qr/^echo faulty: cannot listen on \[::1\]:0: /,
	    '::1 without IPv6: message';
	$server = start_faulty('-q', 'upper', '-a', '*');
	like $server->address, qr/^0\.0\.0\.0:\d+$/, '* is all of IPv4';
	is exchange(dial('127.0.0.1:' . $server->port), 'a', 1), 'A',
	    'it is served';
	$server->stop;

	my $tmp = File::Temp->newdir;
	for my $address ("unix:$tmp/socket", system_has('linux') ?
	    "unix:\@$tmp/socket" : ()) {
		with_faulty('upper,close=2', '-a', $address, sub {
			my ($server) = @_;
			is $server->address, $address, 'a Unix socket';
			my $client = IO::Socket::UNIX->new(Peer =>
			    $address =~ s/^unix://r =~ s/^@/\0/r) or die $!;
			$client->blocking(0);
			is join(' ', exchange($client, 'abc', undef)),
			    'AB eof', 'it is served';
		});
	}
	ok !-e "$tmp/socket", 'its file is removed';
};

# Signals.
for my $signal (qw(TERM INT)) {
	subtest "SIG$signal" => sub {
		my $server = start_faulty('-q', 'delay=1h');
		my @clients = map { dial($server) } 1 .. 5;
		put($_, 'hello') for @clients;
		wait_until(sub { $server->workers == 5 });
		my @children = $server->workers;
		is scalar(@children), 5, 'five processes';
		kill STOP => $children[0];
		$server->stop($signal);
		is scalar(grep { !process_gone($_) } @children), 0,
		    'no process is left';
		isnt +(get_all($_))[1], 'late', 'a connection ends'
		    for @clients;
	};
}

subtest 'SIGTERM at any moment' => sub {
	for my $n (1 .. 30) {
		my $server = start_faulty('-q', 'upper');
		my @clients = map { dial($server) } 1 .. $n % 4;
		$server->signal('TERM');
		my $status = $server->wait;
		is $status // 'still running', 0, "run $n";
		isnt +(get_all($_))[1], 'late', "run $n: the connection ends"
		    for @clients;
	}
};

subtest 'SIGKILL' => sub {
	my $server = start_faulty('-q', 'mute');
	my @clients = map { dial($server) } 1 .. 5;
	wait_until(sub { $server->workers == 5 });
	my @children = $server->workers;
	$server->signal('KILL');
	ok defined wait_until(sub { !grep { !process_gone($_) } @children }),
	    'the processes of the clients end with the parent';
	isnt +(get_all($_))[1], 'late', 'a connection ends' for @clients;
	$server->wait;
};

subtest 'a signal for a child' => sub {
	with_faulty('upper', sub {
		my ($server) = @_;
		my $client = dial($server);
		exchange($client, 'a', 1);
		kill TERM => $server->workers;
		is +(get_all($client))[1], 'eof', 'ends only its client';
		is exchange(dial($server), 'a', 1), 'A', 'others are served';
	});
};

# Usage errors.
my $offsets = '0 to 9223372036854775807';
my $sizes = '1 to 67108864 bytes';
my %refused = (
	'corrupt' => qr/corrupt needs a value: corrupt=OFFSET/,
	'double' => qr/double needs a value: double=OFFSET/,
	'delay' => qr/delay needs a value: delay=TIME/,
	'upper=3' => qr/upper takes no value, not "3"/,
	'upper=' => qr/upper takes no value, not ""/,
	'corrupt=' => qr/corrupt needs a value: corrupt=OFFSET/,
	'corrupt=x' => qr/corrupt: "x" is not a number from $offsets/,
	'corrupt=-1' => qr/corrupt: "-1" is not a number from $offsets/,
	'drop=1k' => qr/drop: "1k" is not a number from $offsets/,
	'close=9-3' => qr/close: "3" is not a number from 9 to /,
	'close=3-' => qr/close: "" is not a number from 3 to /,
	'close=1-2-3' => qr/close: "2-3" is not a number from 1 to /,
	'once=0' => qr/once: "0" is not a size from $sizes/,
	'pieces=65M' => qr/pieces: "65M" is not a size from $sizes/,
	'rate=0' => qr/rate: "0" is not a size from $sizes/,
	'delay=0' => qr/delay: "0" is not a duration from 1ms to 24h/,
	'banner=' => qr/banner needs a value: banner=TEXT/,
	'' => qr/unknown fault ""; --list/,
	'upper,' => qr/unknown fault ""; --list/,
	'nonsense' => qr/unknown fault "nonsense"; --list/,
	'lose=5' => qr/lose is a fault of UDP \(-u\)/,
	'reorder' => qr/reorder is a fault of UDP \(-u\)/,
	'uper' => qr/unknown fault "uper", perhaps upper; --list/,
	'Mute' => qr/unknown fault "Mute", perhaps mute; --list/,
	'corupt=5' => qr/unknown fault "corupt", perhaps corrupt; --list/,
	"up\e[31m" => qr/unknown fault "up\\x1b\[31m"; --list/
);
# Pairs of faults that cannot be combined, and some that can.
my @senseless = (
	'corrupt=1,drop=1', 'swap=1,double=5', 'upper,upper', 'pieces=1,pieces=2',
	'mute,deaf', 'short,gather', 'line,once=3', 'lost-tail,short',
	'mute,corrupt=1', 'mute,upper', 'mute,text', 'mute,constant=a',
	'mute,delay=1s', 'mute,close=1', 'deaf,reset=1', 'deaf,rate=5',
	'constant=a,upper', 'constant=a,drop=1', 'close=1,reset=2',
	'no-fin,close=1', 'no-fin,reset=1'
);
my @sensible = (
	'corrupt=1,upper,crlf,strip', 'text,constant=a', 'line,strip',
	'mute,banner=a,no-fin', 'deaf,one-client', 'short,no-fin',
	'once=5,close=3', 'pieces=1,delay=1ms,rate=5', 'banner=a,reset=3'
);
subtest 'usage errors' => sub {
	for my $faults (sort keys %refused) {
		my $run = run_echo('faulty', '--port=0', $faults);
		my $name = show($faults, 30) =~ s/^\d+ bytes: //r;
		is $run->{status}, 2, "$name: exit status";
		like $run->{err}, qr/\Aecho faulty: $refused{$faults}.*\n\z/,
		    "$name: message";
	}
	for my $pair (@senseless) {
		my ($one, $other) = $pair =~ /^([\w-]+).*,([\w-]+)/;
		for my $faults ($pair, join ',', reverse split /,/, $pair) {
			my $run = run_echo('faulty', '--port=0', $faults);
			is $run->{status}, 2, "$faults: exit status";
			like $run->{err}, qr/\Aecho\ faulty:\ (?:$one\ and\ $other
			    |$other\ and\ $one)\ cannot\ be\ combined/x,
			    "$faults: message";
		}
	}
	with_faulty($_, sub { ok $_[0]->address, "$_: accepted" })
	    for @sensible;
	for (['faulty'], ['faulty', '-q']) {
		my $run = run_echo(@$_);
		is $run->{status}, 2, "@$_: exit status";
		like $run->{err}, qr/no fault is given/, "@$_: message";
	}
	my $run = run_echo(qw(faulty upper crlf));
	is $run->{status}, 2, 'two operands: exit status';
	like $run->{err}, qr/unexpected argument "crlf"/,
	    'two operands: message';
};

# The exit status and the message of send for each fault. The bytes sent are 32,
# with a character across byte 16, a newline, and white space at the end.
my $message = "fifteen letters\xc3\xa9\nfourteen here ";
my %value = (OFFSET => 5, SIZE => 7, TIME => '200ms', BYTES => 100,
    TEXT => 'no');
my $identical = qr/returned 32 bytes, identical/;
my $late = qr/timed out: received nothing for 1\.0 s after/;
my $differs = qr/differs at byte/;
my %said = (
	corrupt => [1, qr/$differs 6: sent 0x65, got 0x66/],
	drop => [1, qr/$differs 6: sent 0x65, got 0x6e/],
	double => [1, qr/$differs 7: sent 0x6e, got 0x65/],
	swap => [1, qr/$differs 7: |$differs 6: /],
	upper => [1, qr/$differs 1: sent 0x66, got 0x46/],
	text => [6, qr/failed after 0 of 32 bytes: $RESET/],
	crlf => [1, qr/$differs 18: sent 0x0a, got 0x0d/],
	strip => [5, qr/$late 31 of 32 bytes/],
	line => [5, qr/$late 18 of 32 bytes/],
	banner => [1, qr/$differs 1: sent 0x66, got 0x6e/],
	constant => [1, qr/$differs 1: sent 0x66, got 0x6e/],
	once => [6, qr/failed after 7 of 32 bytes: $RESET/],
	short => [0, $identical],
	gather => [5, qr/$late 0 of 32 bytes/],
	pieces => [0, $identical],
	delay => [0, $identical],
	rate => [0, $identical],
	mute => [5, qr/$late 0 of 32 bytes/],
	deaf => [5, qr/$late 0 of 32 bytes/],
	close => [6, qr/closed after 5 of 32 bytes/],
	reset => [6, qr/failed after 5 of 32 bytes: $RESET/],
	'lost-tail' => [0, $identical],
	'no-fin' => [0, $identical],
	'one-client' => [0, $identical]
);
subtest 'send with each fault' => sub {
	is join(' ', sort keys %said), join(' ', sort keys %value_of),
	    'the table has each fault of --list';
	for my $fault (sort keys %value_of) {
		my ($status, $says) = @{ $said{$fault} // [0, qr/^$/] };
		my $value = $value{$value_of{$fault}};
		my $given = defined $value ? "$fault=$value" : $fault;
		my $server = start_faulty('-q', $given);
		my $run = run_echo('send', '-t1s', '-a', $server->address,
		    $message);
		is $run->{status}, $status, "$given: exit status";
		like $run->{err}, $says, "$given: message";
		$server->stop($fault eq 'one-client' ? undef : 'TERM');
	}
};

done_testing;
