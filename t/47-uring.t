# --uring: the differences from the other engines. The kernel may refuse
# io_uring. It receives for the server, into a limited number of buffers.
# Completions wait in a queue while the server does other work.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Examples;
use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep);

my $TWO = '--uring --workers=2';

if (run_echo('serve', '--help')->{out} !~ /--uring/) {
	my $run = run_echo('serve', '--uring');
	is $run->{status}, 2, '--uring where it is not built in: exit 2';
	done_testing;
	exit;
}

# A build for headers of a kernel that are too old. Only the files that differ
# are compiled again.
subtest 'not built in' => sub {
	my $out = File::Temp->newdir;
	plan skip_all => 'the program was built elsewhere' unless
	    copy_objects($out) &&
	    unlink(map { "$out/build/modes/serve/$_.o" } qw(ring serve uring));
	my $built = run_make(in_tree('.'), "OUT=$out",
	    'CPPFLAGS=-DWITHOUT_URING', "$out/echo");
	is "$built->{status}$built->{err}", 0, 'it is built';
	my %how = (command => "$out/echo");
	my $run = run_echo(\%how, 'serve', '--uring');
	is $run->{status}, 2, '--uring: exit 2';
	like $run->{err}, qr/\A[^\n]*--uring: this system does not have it; [^\n]*--epoll[^\n]*\n\z/,
	    'one line says so, and names other engines';
	unlike run_echo(\%how, 'serve', '--help')->{out}, qr/--uring/,
	    '--help does not list it';
};

SKIP: {
	my $wrap = shimmed('uring=EPERM');
	skip 'a library cannot be preloaded', 1
	    if run_echo({ wrap => $wrap }, 'help')->{err} =~ /preload/;
	for my $how ('--uring', $TWO) {
		my $run = run_echo({ wrap => $wrap }, 'serve', $how, '-p0');
		is $run->{status}, 7, "$how: the kernel refuses it: exit 7";
		is $run->{out}, '', "$how: the server does not listen";
		like $run->{err}, qr/\A[^\n]*refuses io_uring: Operation not permitted[^\n]*--epoll[^\n]*\n\z/,
		    "$how: one line says so and names --epoll";
	}
	my $run = run_echo({ wrap => shimmed('uring=EINVAL') }, 'serve',
	    '--uring', '-p0');
	like $run->{err}, qr/older than Linux 6\.1/, 'a kernel that is too old';
}

if (io_uring_is_refused()) {
	note 'the rest needs io_uring';
	done_testing;
	exit;
}

# Stops the server while clients act, so that it notices all their actions at
# once.
sub while_stopped {
	my ($server, $work) = @_;
	$server->signal('STOP');
	wait_until(sub { slurp('/proc/' . $server->pid . '/stat') =~ /\) T/ });
	$work->();
	$server->signal('CONT');
}

# There are 64 buffers.
subtest 'more clients at once than there are buffers' => sub {
	my $server = start_server('--uring', '-q');
	my @socks = map { dial($server) } 1 .. 400;
	exchange($_, 'x', 1) for @socks;
	for my $round (1 .. 3) {
		while_stopped($server, sub {
			put($socks[$_], "client $_ round $round")
			    for 0 .. $#socks;
		});
		is scalar(grep { my $text = "client $_ round $round";
		    get($socks[$_], length $text) eq $text } 0 .. $#socks),
		    400, "round $round: each gets its own bytes";
	}
	$server->stop;
};

# The bytes of a client fill several buffers of 1024 bytes, which are sent one by
# one.
subtest 'many messages of one client at once' => sub {
	my $server = start_server('--uring', '-q');
	my @socks = map { dial($server) } 1 .. 3;
	for my $size (1, 1023, 1024, 1025, 2049, 5000, 300_000) {
		my $bytes = pattern($size);
		while_stopped($server, sub {
			put($_, $bytes) for @socks;
		});
		is_bytes scalar get($_, $size), $bytes,
		    "$size bytes come back in order" for @socks;
		is scalar(grep { exchange($_, 'small', 5) eq 'small' }
		    (@socks) x 10), 30, 'and small messages after them';
	}
	$server->stop;
};

# A client leaves, and another client connects, before the server has noticed
# either event. The second client can get the descriptor of the first one.
subtest 'a descriptor that is used again' => sub {
	my $server = start_server('--uring');
	my %old = map { $_ => dial($server) } 1 .. 20;
	exchange($_, 'old', 3) for values %old;
	for my $round (1 .. 5) {
		my %new;
		while_stopped($server, sub {
			for (keys %old) {
				put($old{$_}, 'last words');
				$_ % 2 ? close $old{$_} :
				    reset_connection($old{$_});
				$new{$_} = dial($server);
				put($new{$_}, "new $round.$_");
			}
		});
		is scalar(grep { my $text = "new $round.$_";
		    get($new{$_}, length $text) eq $text } keys %new), 20,
		    "round $round: each new client gets its own bytes";
		%old = %new;
	}
	close $_ for values %old;
	$server->wait_log(qr/ closed /, 120);
	$server->stop;
};

# The queue of completions has room for 4096.
subtest 'more completions at once than the queue holds' => sub {
	my $many = 5000;
	chomp(my $hard = `sh -c 'ulimit -Hn'`);
	plan skip_all => "$many clients need more descriptors than $hard"
	    if $hard ne 'unlimited' && $hard < $many + 100;
	my $server = start_server('--uring', '-q', '--idle=0');
	my $before = $server->descriptors;
	pipe my $ready, my $connected or die $!;
	pipe my $wait, my $go or die $!;
	my $pid = spawn(sub {
		close $go;
		my @socks = map { dial($server) } 1 .. $many;
		exchange($socks[-1], 'x', 1);
		syswrite $connected, 'x';
		sysread $wait, my $byte, 1;
	});
	close $wait;
	sysread $ready, my $byte, 1;
	while_stopped($server, sub {
		close $go;
		waitpid $pid, 0;
	});
	ok defined wait_until(sub { $server->descriptors <= $before }),
	    "the descriptors of $many clients that left are closed";
	is exchange(dial($server), 'on', 2), 'on', 'the server goes on';
	$server->stop;
};

# The request to accept needs a free descriptor, even if no client is waiting.
subtest 'no free descriptor and no client that waits' => sub {
	my $server = start_server('--uring');
	my $client = dial($server);
	exchange($client, 'x', 1);
	my $fd = 0;
	plan skip_all => '/proc is missing' unless defined $server->descriptors;
	$fd++ while -l '/proc/' . $server->pid . "/fd/$fd";
	plan skip_all => 'no prlimit(1) here'
	    unless $server->limit_descriptors($fd + 1);
	my $last = dial($server);
	is exchange($last, 'last', 4), 'last', 'the last descriptor is used';
	at_most(0.06, sub { cpu_of_busiest(2, $server) },
	    'the server sleeps (processor seconds)');
	close $last;
	is exchange(dial($server), 'next', 4), 'next',
	    'the next client is served';
	$server->stop;
};

# 2000 clients that send without reading. Two processes each hold half of them.
sub greedy_clients {
	my ($server, $n) = @_;
	pipe my $ready, my $full or die $!;
	my $pid = spawn(sub {
		my $block = 'x' x 262_144;
		my @socks = map { dial($server) } 1 .. $n;
		for (1 .. 2) {
			syswrite $_, $block for @socks;
		}
		syswrite $full, 'x';
		sleep 10 * $DEADLINE;
	});
	sysread $ready, my $byte, 1;
	return $pid;
}

subtest '2000 clients that do not read' => sub {
	my $many = 2000;
	chomp(my $hard = `sh -c 'ulimit -Hn'`);
	plan skip_all => "$many clients need more descriptors than $hard"
	    if $hard ne 'unlimited' && $hard < $many + 100;
	my $server = start_server('--uring', '-q');
	my $other = dial($server);
	exchange($other, 'hello', 5);
	my @greedy = map { greedy_clients($server, $many / 2) } 1, 2;
	at_most(0.05, sub {
		median(map { seconds_of(sub { exchange($other, 'hello', 5) }) }
		    1 .. 21);
	}, 'another client is answered within 50 ms (median)');
	at_most($many * 65536, sub { $server->memory },
	    'each costs at most one chunk of memory')
	    if defined $server->memory && !sanitized();
	is exchange(dial($server), 'new', 3), 'new', 'a new client is served';
	end_processes(@greedy);
	$server->stop;
};

# The rest is the same with each engine; with several workers, each has a ring.
subtest $TWO => sub {
	my $server = start_server($TWO, '-q');
	my @socks = map { dial($server) } 1 .. 20;
	is scalar(grep { exchange($socks[$_], "client $_", 8) =~
	    /\Aclient $_/ } 0 .. $#socks), 20, 'all clients are served';
	my @before = $server->workers;
	kill KILL => $before[0];
	ok defined wait_until(sub { my @now = $server->workers;
	    @now == 2 && !grep { $_ == $before[0] } @now }),
	    'a worker that dies is replaced';
	is exchange(dial($server), 'new', 3), 'new',
	    'and clients are served' for 1 .. 10;
	$server->allow(qr/^echo serve: worker /);
	$server->stop;
};

done_testing;
