# Tests of check --client: it passes every correct client, and for each wrong
# client exactly the tests fail that are about its mistake, with one sentence
# that names the mistake.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use JSON::PP qw(decode_json encode_json);
use Test::More;
use Time::HiRes qw(sleep);

my $tmp = File::Temp->newdir;

# The clients: perl CLIENT KIND HOST PORT [MESSAGE]. Without MESSAGE the message
# is on standard input. One of them runs for each test of each case, some
# hundred in all, and so they load no module that takes long to load.
open my $file, '>', "$tmp/client" or die $!;
print $file <<'END';
use strict;
use warnings;
use Socket;

my ($kind, $host, $port, $message) = @ARGV;
$message = do { local $/; <STDIN> } unless defined $message;
my ($sock, $back) = (undef, '');

sub dial {
	socket $sock, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
	connect $sock, pack_sockaddr_in($port, inet_aton($host)) or
	    die "connect: $!\n";
}
sub send_message { syswrite $sock, $_[0] // $message }
# Returns what recv returns, an empty string at the end, or dies.
sub chunk {
	my $n = sysread $sock, my $chunk, $_[0] // 16;
	die "recv: $!\n" unless defined $n;
	return $chunk;
}
sub read_all {
	while ((my $chunk = chunk(@_)) ne '') { $back .= $chunk }
}
sub count_bytes {
	while (length $back < length $message) {
		my $chunk = chunk();
		die "closed early\n" if $chunk eq '';
		$back .= $chunk;
	}
}
sub until_short {
	my ($size) = @_;
	while (1) {
		my $chunk = chunk($size);
		$back .= $chunk;
		last if length $chunk < $size;
	}
}
sub start { dial(); send_message(@_) }
sub show { print $back, "\n" }
# The number of characters. Dies if the last one, or the first, is incomplete.
sub characters_of {
	my $text = $_[0];
	utf8::decode($text) or die "not UTF-8\n";
	return length $text;
}
sub readable_within {
	my ($seconds) = @_;
	vec(my $set = '', fileno($sock), 1) = 1;
	return select $set, undef, undef, $seconds;
}

my %kinds = (
	'counts' => sub { start(); count_bytes(); show() },
	'compares' => sub {
		start();
		while ($back ne $message) {
			my $chunk = chunk(4096);
			die "closed early\n" if $chunk eq '';
			$back .= $chunk;
		}
		show();
	},
	'half-closes' => sub {
		start();
		shutdown $sock, SHUT_WR;
		read_all();
		show();
	},
	'reads-to-end' => sub { start(); read_all(); show() },
	'short-16' => sub { start(); until_short(16); show() },
	'short-1024' => sub { start(); until_short(1024); show() },
	'short-1000' => sub { start(); until_short(1000); show() },
	'once' => sub { start(); $back = chunk(4096); show() },
	'once-16' => sub { start(); $back = chunk(16); show() },
	'asks-in-parts' => sub {
		dial();
		for my $part ($message =~ /.{1,1023}/sg) {
			send_message($part);
			$back .= chunk(1024);
		}
		show();
	},
	'sends-without-end' => sub {
		start();
		while (chunk() ne '') { send_message() }
	},
	'loses-end' => sub {
		start();
		while (length(my $chunk = chunk(16)) == 16) {
			$back .= $chunk;
		}
		show();
	},
	'impatient' => sub {
		start();
		while (readable_within(0.1)) {
			my $chunk = chunk();
			last if $chunk eq '';
			$back .= $chunk;
		}
		show();
	},
	'decodes' => sub {
		start();
		eval {
			while (length $back < length $message) {
				my $chunk = chunk();
				last if $chunk eq '';
				characters_of($chunk);
				$back .= $chunk;
			}
		};
		show();
	},
	'characters' => sub {
		start();
		while (1) {
			my $chunk = chunk();
			$back .= $chunk;
			my $size = eval { characters_of($chunk) } // 0;
			last if $size < 16;
		}
		show();
	},
	'waits-for-characters' => sub {
		start();
		my $size = length $message;
		my $characters = characters_of($message);
		count_bytes();
		syswrite STDOUT, $back;
		sleep 600 if $characters < $size;
	},
	'newline' => sub {
		start("$message\n");
		$message .= "\n";
		count_bytes();
		show();
	},
	'marker' => sub {
		start("$message<end>");
		$message .= '<end>';
		count_bytes();
		print $back =~ s/<end>$//r, "\n";
	},
	'cuts-message' => sub {
		$message = substr $message, 0, 20;
		start();
		count_bytes();
		show();
	},
	'trims' => sub {
		$message =~ s/^ +| +$//g;
		start();
		count_bytes();
		show();
	},
	'constant' => sub {
		$message = 'This is a test message.';
		start();
		count_bytes();
		show();
	},
	'on-stderr' => sub {
		print STDERR "sending $message\n";
		start();
		count_bytes();
		print STDERR "received $1\n" while $back =~ /(.{1,16})/gs;
	},
	'wraps' => sub {
		print "sending '$message'\n";
		start();
		count_bytes();
		print "received '$1'\n" while $back =~ /(.{1,16})/gs;
	},
	'prints-nothing' => sub {
		start();
		count_bytes();
		print "done\n";
	},
	'prints-sent' => sub { start(); count_bytes(); print "$message\n" },
	'sends-nothing' => sub { dial(); exit 0 },
	'fails' => sub { start(); count_bytes(); show(); exit 3 },
	'stays' => sub { start(); count_bytes(); show(); sleep 600 },
	'waits-for-more' => sub {
		start();
		read_all();
		syswrite STDOUT, $back;
		sleep 600;
	},
	# A child in a session of its own, which holds no descriptor of check.
	'leaves-child' => sub {
		start();
		count_bytes();
		show();
		if (fork == 0) {
			exec 'setsid', 'sh', '-c', "exec -a $message " .
			    'sleep 600 >/dev/null 2>&1 </dev/null';
		}
	},
	'floods' => sub {
		start();
		count_bytes();
		show();
		print STDERR +('x' x 79 . "\n") x 50 for 1 .. 4000;
	},
	# A client that has a timeout and checks everything. The timeout is long
	# enough for a busy machine and for a late reply of check.
	'careful' => sub {
		dial();
		send_message();
		shutdown $sock, SHUT_WR;
		while (readable_within(4)) {
			my $chunk = chunk(4096);
			last if $chunk eq '';
			$back .= $chunk;
		}
		show();
		exit($back eq $message ? 0 : 1);
	},
	# The same without any check: its own time limit ends the client.
	'careless' => sub {
		$SIG{ALRM} = sub { exit 0 };
		alarm 4;
		start();
		eval { read_all() };
		show();
	},
	'endless' => sub { start(); eval { read_all() }; sleep 600 }
);
binmode $_ for *STDIN, *STDOUT, *STDERR;
$kinds{$kind}->();
END
close $file or die $!;

# The names of the tests, by profile.
my (%tests, @tests);
for (split /\n/, run_echo(qw(check --client=x --list))->{out}) {
	my ($name, $profile) = split;
	push @{ $tests{$profile} }, $name;
	push @tests, $name;
}
is_deeply [sort keys %tests], [qw(homework robust)],
    'there are tests in both profiles';

my @homework = @{ $tests{homework} };
my @letters = map { "client-$_" } qw(stdout 1 16 17 32 4096 pieces bytewise
    late);
my %modes = modes();

# What a run of check reports: the failed tests as { name => sentence }, the
# tests that were skipped, and the comment lines.
sub results_of {
	my ($run) = @_;
	my %result = (failed => {}, skipped => [], comments => []);
	my $name;
	for (split /\n/, $run->{out}) {
		$name = $1 if /^not ok \d+ - (\S+)$/;
		$result{failed}{$name} = $1 if /^  message: "(.*)"$/;
		push @{ $result{skipped} }, $1 if /^ok \d+ - (\S+) # SKIP/;
		push @{ $result{comments} }, $1 if /^# (.*)/ &&
		    $1 !~ /tests? failed$/;
	}
	return \%result;
}

sub words_of { map { "client-$_" } @_ }

# Each case: a name, the kind of client, the message as an argument or as
# standard input, options, the expected sentence, the failed tests, the comments
# and the exit status.
my ($argument, $input) = (' {message}', '');
my $first = 'prints only what the first recv returned';
my $wait = 'the client reads until end of file: it depends on the server ' .
    'closing';
my $wrapped = 'the reply was printed among other words or in several parts';
my @cases = (
	(map { { kind => $_ }, { kind => $_, message => $input } } qw(counts
	    compares half-closes careful)),
	{ kind => 'reads-to-end', comments => [$wait] },
	{ kind => 'once', says => $first,
	    failed => [words_of(qw(pieces bytewise))] },
	{ kind => 'once-16', says => $first, failed => [words_of(qw(stdout 17
	    32 4096 utf8 split spaces pieces bytewise late))] },
	{ kind => 'once-16', only => 'client-17,client-utf8', says => $first,
	    failed => [words_of(qw(17 utf8))] },
	{ kind => 'short-16', says => 'stops at a read shorter than 16 bytes',
	    failed => [words_of(qw(pieces bytewise))],
	    comments => ['in client-16, the client depends on the server ' .
	    'closing'] },
	# One test alone has the sentence that it has in a full run.
	{ kind => 'short-16', only => 'client-bytewise', says =>
	    'stops at a read shorter than 16 bytes',
	    failed => ['client-bytewise'] },
	{ kind => 'decodes', only => 'client-split',
	    says => 'decodes parts of characters', failed => ['client-split'] },
	{ kind => 'short-1024', only => 'client-pieces',
	    says => 'stops at a read shorter than 1024 bytes',
	    failed => [words_of('pieces')] },
	{ kind => 'short-1000', only => 'client-pieces',
	    says => 'stops at a read shorter than its buffer',
	    failed => [words_of('pieces')] },
	{ kind => 'asks-in-parts', only => 'client-pieces',
	    says => 'prints only 8 of the 44 bytes of the reply',
	    failed => [words_of('pieces')] },
	{ kind => 'sends-without-end', only => 'client-17',
	    says => 'sends 256 or more bytes after the message',
	    failed => ['client-17'] },
	{ kind => 'loses-end', says => 'does not print the last read, if ' .
	    'that is shorter than 16 bytes', failed => [words_of(qw(stdout 1 17
	    utf8 split spaces pieces bytewise late))],
	    comments => ['in client-16, the client depends on the server ' .
	    'closing'] },
	{ kind => 'impatient', says => 'stops when the reply pauses',
	    only => 'client-17,client-pieces,client-bytewise,client-late',
	    failed => [words_of(qw(pieces bytewise late))] },
	{ kind => 'decodes', says => 'decodes parts of characters',
	    failed => [words_of('split')] },
	{ kind => 'characters', only => 'client-4096,client-utf8',
	    says => 'counts characters instead of bytes',
	    failed => [words_of('utf8')], comments => ['in client-4096, the ' .
	    'client depends on the server closing'] },
	{ kind => 'waits-for-characters', only => 'client-32,client-utf8',
	    says => 'counts characters instead of bytes',
	    failed => [words_of('utf8')] },
	{ kind => 'newline', failed => [grep { $_ ne 'client-binary' }
	    @homework], says => 'sends a newline that is not in the message' },
	{ kind => 'newline', message => $input, failed => [@homework],
	    says => 'sends a newline that is not in the message' },
	{ kind => 'marker', only => 'client-17', failed => ['client-17'],
	    says => 'sends 5 bytes after the message' },
	{ kind => 'cuts-message', only => 'client-17,client-32',
	    failed => ['client-32'], says => 'sends only 20 of 32 bytes' },
	{ kind => 'trims', failed => ['client-spaces'],
	    says => 'changes the white space of the message' },
	{ kind => 'constant', failed => [grep { $_ ne 'client-binary' }
	    @homework], says =>
	    'sends the same bytes for two different messages' },
	{ kind => 'on-stderr', failed => ['client-stdout'],
	    says => 'prints the reply only on standard error',
	    comments => ['the reply was on standard error, where these tests ' .
	    'also looked for it'] },
	{ kind => 'wraps', comments => [$wrapped] },
	{ kind => 'prints-nothing', only => 'client-17',
	    failed => ['client-17'],
	    says => 'exits 0, and its output does not contain the reply' },
	{ kind => 'prints-sent', only => 'client-17', failed => ['client-17'],
	    says => 'prints the message that it sent, and not the reply' },
	{ kind => 'sends-nothing', only => 'client-17,client-32',
	    failed => [words_of(17, 32)], says => 'connects and sends ' .
	    'nothing, and exits 0 although nothing came back' },
	{ kind => 'fails', only => 'client-17', failed => ['client-17'],
	    says => 'exits 3 although the whole reply came back' },
	{ kind => 'waits-for-more', only => 'client-17',
	    failed => ['client-17'], says => 'does not terminate after the ' .
	    'server has closed the connection' },
	{ kind => 'floods', only => 'client-17,client-32' }
);

# The same with the servers of the profile robust.
my @robust = (
	{ kind => 'careful', profile => 'robust' },
	{ kind => 'careless', only => join(',', words_of(qw(no-reply mute))),
	    failed => [words_of(qw(no-reply mute))],
	    says => 'exits 0 although nothing came back' },
	{ kind => 'careless', only => 'client-close',
	    failed => ['client-close'],
	    says => 'exits 0 although only 10 of 40 bytes came back' },
	{ kind => 'careless', only => 'client-reset',
	    failed => ['client-reset'], says => 'exits 0 although the server ' .
	    'reset the connection after 10 of 40 bytes' },
	{ kind => 'careless', only => 'client-corrupt',
	    failed => ['client-corrupt'],
	    says => 'exits 0 although one byte of the reply is wrong' },
	{ kind => 'careless', only => 'client-surplus',
	    failed => ['client-surplus'],
	    says => 'exits 0 although one byte of the reply came twice' },
	{ kind => 'endless', only => 'client-mute', failed => ['client-mute'],
	    says => 'does not terminate while the server keeps the ' .
	    'connection open' },
	{ kind => 'endless', only => 'client-close',
	    failed => ['client-close'], says => 'does not terminate although ' .
	    'only 10 of 40 bytes came back' },
	# The client may have ended before the server has logged it.
	{ kind => 'sends-nothing', only => 'client-mute',
	    failed => ['client-mute'],
	    says => 'exits 0 although nothing came back' },
	# This server does not close either.
	{ kind => 'endless', only => 'client-corrupt',
	    failed => ['client-corrupt'], says => 'does not terminate while ' .
	    'the server keeps the connection open' }
);
push @cases, @robust if $modes{faulty};

sub client_command {
	my ($case) = @_;
	return $case->{command} // "$^X $tmp/client $case->{kind} {host} " .
	    '{port}' . ($case->{message} // $argument);
}

# How long check waits for a client. Only a client that does not terminate takes
# that long.
sub timeout_of {
	my ($case) = @_;
	return $case->{kind} =~ /^(?:endless|stays|waits-)/ ? '6s' :
	    '30s';
}

sub arguments_of {
	my ($case) = @_;
	return ('check', '--client=' . client_command($case),
	    '-t' . timeout_of($case),
	    '--profile=' . ($case->{profile} // 'homework'),
	    $case->{only} ? "--only=$case->{only}" : ());
}

# Sentences that depend on how much a client has read before the next piece of a
# reply arrives. On a busy machine, the client may read two pieces at once, and
# check then states only the observation. Such a case is run again before it
# fails.
my $paced = qr/^(?:prints only |stops |does not print the last)/;

sub run_until_right {
	my ($case) = @_;
	return measure_again(sub {
		run_echo({ deadline => 300 }, arguments_of($case))
	}, sub {
		my @says = values %{ results_of($_[0])->{failed} };
		!$case->{says} || $case->{says} !~ $paced ||
		    @says == @{ $case->{failed} } &&
		    !grep { $_ ne $case->{says} } @says;
	});
}

# Runs the cases, six at once because most of them wait. Each result is in a
# file.
sub run_cases {
	my %pids;
	for my $i (0 .. $#cases) {
		delete $pids{waitpid -1, 0} while keys %pids >= 6;
		$pids{spawn(sub {
			my $run = run_until_right($cases[$i]);
			open my $out, '>', "$tmp/$i" or die $!;
			print $out encode_json($run);
			close $out or die $!;
		})} = 1;
	}
	waitpid $_, 0 for keys %pids;
}

run_cases();
for my $i (0 .. $#cases) {
	my $case = $cases[$i];
	my $name = join ', ', $case->{kind}, $case->{only} // (),
	    defined $case->{message} ? 'message on standard input' : ();
	subtest $name => sub {
		my $run = eval { decode_json(slurp("$tmp/$i")) } //
		    { out => '', err => "no result: $@" };
		my $result = results_of($run);
		my %expected = map { $_ => $case->{says} }
		    @{ $case->{failed} // [] };
		is_deeply $result->{failed}, \%expected,
		    'the failed tests and their sentence' or
		    diag $run->{out}, $run->{err};
		is join("\n", @{ $result->{comments} }),
		    join("\n", @{ $case->{comments} // [] }), 'the comments';
		is join(' ', @{ $result->{skipped} }),
		    $case->{only} || defined $case->{message} ? '' :
		    'client-binary', 'the skipped tests';
		is $run->{status}, %expected ? 1 : 0, 'exit status';
		is $run->{err}, '', 'nothing on standard error';
	};
}

subtest 'this program as the client' => sub {
	my $program = program();
	my $profile = $modes{faulty} ? 'robust' : 'homework';
	my $run = run_echo('check', "--profile=$profile", "--client=$program " .
	    'send -q -t 3s --address={host}:{port} {message}');
	is_deeply results_of($run)->{failed}, {}, 'with the message as argument'
	    or diag $run->{out};
	$run = run_echo('check', "--profile=$profile",
	    "--client=$program send -q -t 3s -a {host} -p {port}");
	is_deeply results_of($run)->{failed}, {}, 'with standard input'
	    or diag $run->{out};
	is_deeply results_of($run)->{skipped}, [], 'no test is skipped';
};

subtest 'a client that cannot be run' => sub {
	my $run = run_echo('check',
	    '--client=/nonexistent/python client.py {port}');
	is $run->{status}, 1, 'exit status';
	like $run->{out}, qr/^Bail out! cannot run the client: .*nonexistent/m,
	    'the reason';
	$run = run_echo('check', '--client=sh -c "echo oops >&2; exit 4"',
	    '--only=client-1', '-p', free_port());
	is_deeply results_of($run)->{failed},
	    { 'client-1' => 'does not connect, and exits 4' },
	    'one that does not connect';
	like $run->{out}, qr/^  stderr: "oops"$/m, 'its last line';
};

# A port that is free now.
sub free_port {
	my ($sock, $address) = closed_port();
	close $sock;
	return $address =~ s/.*://r;
}

subtest 'the port' => sub {
	my ($sock, $address) = closed_port();
	my $run = run_echo('check', '--client=true', $address);
	is $run->{status}, 7, 'exit status where the port is taken';
	like $run->{out}, qr/^Bail out! cannot listen on \Q$address\E: /m,
	    'the reason';
	my $port = free_port();
	$run = run_echo('check', '--only=client-1,client-17', '-p', $port,
	    "--client=$^X $tmp/client counts 127.0.0.1 $port {message}");
	is_deeply results_of($run)->{failed}, {}, 'a port in the command';
	is $run->{status}, 0, 'exit status' or diag $run->{out};
};

SKIP: {
	skip 'no /dev/full', 1 unless -c '/dev/full';
	is run_echo({ out => '/dev/full' }, 'check', '--client=true {port}')
	    ->{status}, 7, 'a stdout that is full: exit status';
}

subtest 'usage' => sub {
	my $run = run_echo(qw(check --client=true --only=bytes-16));
	is $run->{status}, 2, 'a test of servers with --client';
	$run = run_echo(qw(check --only=client-16));
	is $run->{status}, 2, 'a test of clients without --client';
	$run = run_echo(qw(check --client=true --only=nosuch));
	like $run->{err}, qr/no test "?nosuch/, 'an unknown test';
	$run = run_echo(qw(check --client=true unix:/tmp/x));
	is $run->{status}, 2, 'a Unix socket';
	$run = run_echo('check', '--skip=client-17', '--only=client-17',
	    '--client=true {port}');
	is_deeply results_of($run)->{skipped}, ['client-17'], '--skip'
	    or diag $run->{out};
};

# The number of processes whose command line contains a word.
sub processes_with {
	my ($word) = @_;
	return scalar grep {
		my $line = eval { slurp($_) } // '';
		index($line, $word) >= 0 && $line !~ /\bcheck\b/;
	} glob '/proc/[0-9]*/cmdline';
}

subtest 'no process is left' => sub {
	my $run = run_echo('check', '--only=client-17',
	    '--client=' . client_command({ kind => 'leaves-child' }));
	is $run->{status}, 0, 'a client that leaves a child passes'
	    or diag $run->{out};
	is processes_with("$tmp/client"), 0, 'after the tests';
	# Only on Linux, check finds processes that have left the group of the
	# client.
	my $apart = system_has('linux') ? 'setsid' : '';
	for my $signal (qw(INT TERM HUP KILL)) {
		my $word = "left-by-$signal-$$";
		my $pid = spawn(sub {
			open STDOUT, '>', '/dev/null';
			$SIG{$signal} = 'DEFAULT' if $signal ne 'KILL';
			exec program(), 'check', '-t', '60s',
			    '--only=client-1', "--client=exec sh -c '" .
			    "($apart sleep 600 $word 2>/dev/null || " .
			    "$apart sh -c \"sleep 601; : $word\" & " .
			    "sh -c \"sleep 602; : $word\"; : )' {port}";
		});
		ok defined wait_until(sub { processes_with($word) >= 2 }),
		    "$signal: the client runs";
		kill $signal => $pid;
		waitpid $pid, 0;
		is $? & 127, { INT => 2, TERM => 15, HUP => 1, KILL => 9 }
		    ->{$signal}, "$signal: check ends by the signal";
		wait_until(sub { !processes_with($word) })
		    if $signal eq 'KILL';
		is processes_with($word), 0, "$signal: no process is left";
	}
};

done_testing;
