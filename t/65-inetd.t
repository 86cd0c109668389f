# Started by inetd, xinetd, tcpserver, s6-tcpserver or systemd with Accept=yes,
# standard input is a client's connection. With --inetd the server serves it,
# without the option the server exits, and in no case does the client receive
# anything but its echo.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Fcntl qw(F_GETFL F_SETFD O_NONBLOCK);
use File::Temp ();
use IO::Socket::IP ();
use IO::Socket::UNIX ();
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep);

$ENV{PATH} .= ':/usr/sbin:/sbin';
my $tmp = File::Temp->newdir;
my $bulk = pattern(300_000);

# A connection: the client's end, and the one that accept returned.
sub tcp_pair {
	my $listener = IO::Socket::IP->new(Listen => 1,
	    LocalHost => '127.0.0.1', Type => SOCK_STREAM) // die $@;
	my $client = dial('127.0.0.1:' . $listener->sockport);
	return ($client, $listener->accept // die $!);
}

sub unix_pair {
	unlink "$tmp/sock";
	my $listener = IO::Socket::UNIX->new(Listen => 1,
	    Local => "$tmp/sock") // die $!;
	my $client = IO::Socket::UNIX->new(Peer => "$tmp/sock") // die $!;
	$client->blocking(0);
	return ($client, $listener->accept // die $!);
}

# Two connected sockets without an address, as socat and websocketd pass them.
sub nameless_pair {
	socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC
	    or die $!;
	$client->blocking(0);
	return ($client, $server);
}

# Starts the server with standard input, output and error as given, under the
# shim if a plan for it is given. Returns its process id.
sub start_with {
	my ($in, $out, $err, @args) = @_;
	my @wrap = ref $args[0] ? @{ shimmed(shift(@args)->[0]) } : ();
	return spawn(sub {
		open STDIN, '<&', $in or die $!;
		open STDOUT, '>&', $out or die $!;
		open STDERR, '>&', $err or die $!;
		exec @wrap, program(), 'serve', split ' ', "@args";
	});
}

# The same until it ends. Returns its exit status.
sub run_with {
	waitpid start_with(@_), 0;
	return $? & 127 ? "signal $?" : $? >> 8;
}

my @pairs = (['TCP', \&tcp_pair], ['a Unix socket', \&unix_pair],
    ['a socket pair', \&nameless_pair]);

subtest 'without --inetd' => sub {
	for (@pairs[0, 1]) {
		my ($name, $pair) = @$_;
		my ($client, $connection) = $pair->();
		my $err = File::Temp->new;
		is run_with($connection, $connection, $err, '--port=0'), 2,
		    "$name as standard input: exit 2";
		is slurp("$err"), "echo serve: standard input is a " .
		    "connection of a client (see --inetd)\n", 'and one line';
		is run_with($connection, $connection, $connection,
		    '--port=0'), 2, "$name as standard error too: exit 2";
		close $connection;
		is get_all($client), '', 'and nothing is sent to the client';
	}
};

# The client sends all of its bytes at once, then its end of file. The engine
# '' is the default.
sub test_serves {
	my ($name, $pair, $engine, $message) = @_;
	my ($client, $connection) = $pair->();
	my $pid = start_with($connection, $connection, $connection,
	    '--inetd -v', $engine);
	close $connection;
	my ($back, $end) = exchange($client, $message, undef, half_close => 1);
	is_bytes $back, $message, "$name: the echo and nothing else";
	is $end, 'eof', 'then an end of file';
	waitpid $pid, 0;
	is $?, 0, 'exit 0';
}

for my $engine ('', grep { !/workers/ } engines()) {
	subtest '--inetd ' . ($engine || 'without an engine') => sub {
		for (@pairs) {
			my ($name, $pair) = @$_;
			test_serves($name, $pair, $engine,
			    $engine =~ /blocking/ ? 'x' x 1000 : $bulk);
		}

		# A pause does not end the connection (--stream). SIGTERM ends
		# it, after an end of file for the client.
		my ($client, $connection) = tcp_pair();
		my $pid = start_with($connection, $connection, $connection,
		    '--inetd --gap=1ms', $engine);
		is exchange($client, 'first', 5), 'first', 'a message';
		ok fcntl($connection, F_GETFL, 0) & O_NONBLOCK,
		    'the connection is non-blocking';
		close $connection;
		sleep 0.02;
		is exchange($client, 'second', 6), 'second',
		    'another message after a pause';
		kill TERM => $pid;
		is join(' ', get_all($client)), ' eof',
		    'SIGTERM ends the connection with an end of file';
		close $client;
		waitpid $pid, 0;
		is $?, 0, 'exit 0';
	};
}

subtest 'the log' => sub {
	for (['', qr/\A\z/], ['-v', qr/ connected\n(?:.* (?:read|received) 5 bytes "hello"\n){2}.* closed after 5 bytes, .*: end of file\nserved 1 client, 5 bytes\n\z/]) {
		my ($option, $expected) = @$_;
		my ($client, $connection) = tcp_pair();
		my $err = File::Temp->new;
		my $pid = start_with($connection, $connection, $err,
		    '--inetd', $option);
		close $connection;
		is exchange($client, 'hello', undef, half_close => 1), 'hello',
		    "the echo, with --inetd $option";
		waitpid $pid, 0;
		like slurp("$err") =~ s/^echo serve: no sandbox: .*\n//mr,
		    $expected, 'the log on standard error';
	}
};

# The error message about a wrong command line goes to the system log, and not
# to the client.
subtest 'the system log' => sub {
	my $log = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
	    Local => "$tmp/log") // die $!;
	for (['--inetd --gap=x', qr/--gap: "x" /],
	    ['--inetd --workers=2', qr/--inetd excludes /],
	    ['--inetd -a localhost', qr/--inetd excludes /],
	    ['--port=0', qr/standard input is a connection /]) {
		my ($args, $expected) = @$_;
		my ($client, $connection) = tcp_pair();
		is run_with($connection, $connection, $connection,
		    ["log=$tmp/log"], $args), 2, "$args: exit 2";
		close $connection;
		is get_all($client), '', 'nothing is sent to the client';
		my $message = '';
		recv $log, $message, 2000, 0
		    if IO::Select->new($log)->can_read($DEADLINE);
		like $message, qr/\A<27>echo serve: $expected[^\n]*\z/,
		    'the system log has the message';
	}
	# The server is in its sandbox when it looks at the header.
	my ($stranger, $other) = tcp_pair();
	my $pid = start_with($other, $other, $other, ["log=$tmp/log"],
	    '--inetd --proxy-protocol');
	close $other;
	is exchange($stranger, 'no header', undef, half_close => 1), '',
	    'with --proxy-protocol, too, nothing is sent to the client';
	waitpid $pid, 0;
	is $?, 0, 'exit 0';
	recv $log, my $warning, 2000, 0
	    if IO::Select->new($log)->can_read($DEADLINE);
	like $warning, qr/\A<27>echo serve: .*: wrong PROXY header: /,
	    'the system log has the warning';
	my ($client, $connection) = tcp_pair();
	$pid = start_with($connection, $connection, $connection,
	    ["log=$tmp/log"], '--inetd -v');
	close $connection;
	is exchange($client, 'hello', undef, half_close => 1), 'hello',
	    'with --inetd -v a client is served';
	waitpid $pid, 0;
	ok !IO::Select->new($log)->can_read(0),
	    'the system log has nothing about it';
};

subtest 'standard input is not a connection' => sub {
	my $listener = IO::Socket::IP->new(Listen => 1,
	    LocalHost => '127.0.0.1', Type => SOCK_STREAM) // die $@;
	my $datagram = IO::Socket::IP->new(LocalHost => '127.0.0.1',
	    Proto => 'udp', Type => SOCK_DGRAM) // die $@;
	open my $null, '<', '/dev/null' or die $!;
	for ([$null, qr/is not a connection: /],
	    [$datagram, qr/is not a connection: /],
	    [$listener, qr/is a listening socket, .* wait = no /]) {
		my ($in, $expected) = @$_;
		my $err = File::Temp->new;
		is run_with($in, $err, $err, '--inetd'), 2, 'exit 2';
		like slurp("$err"),
		    qr/\Aecho serve: --inetd: standard input $expected.*\n\z/,
		    'and one line';
	}
	# The client has gone before the server looked at it.
	my ($client, $connection) = tcp_pair();
	reset_connection($client);
	my $err = File::Temp->new;
	is run_with($connection, $err, $err, '--inetd'), 0,
	    'a connection that was reset before: exit 0';
	is slurp("$err"), '', 'and no line';
};

# A socket pair without an address is a pipe, as Node and the journal use it.
subtest 'a socket pair without --inetd' => sub {
	my (undef, $theirs) = nameless_pair();
	fcntl $theirs, F_SETFD, 0;
	my $server = start_command({ pass => [$theirs] }, $^X, '-e',
	    'open STDIN, "<&", shift or die; exec @ARGV', fileno $theirs,
	    program(), 'serve', '--port=0', '--stream', '-q');
	is exchange(dial($server), 'hello', 5), 'hello',
	    'is not a connection';
	$server->stop;
};

# A port that the launchers can use, because they set SO_REUSEADDR too, and that
# the system gives to no other socket as long as this one is open.
sub hold_port {
	socket my $sock, AF_INET, SOCK_STREAM, 0 or die $!;
	setsockopt $sock, SOL_SOCKET, SO_REUSEADDR, 1 or die $!;
	bind $sock, pack_sockaddr_in(0, INADDR_LOOPBACK) or die $!;
	my ($port) = unpack_sockaddr_in(getsockname $sock);
	return ($sock, $port);
}

# The first connection that the launcher accepts.
sub dial_launcher {
	my ($port) = @_;
	my $client;
	wait_until(sub {
		$client = eval { dial("127.0.0.1:$port") };
	}) // die "port $port: $@";
	return $client;
}

# Asserts that two clients of a launcher are served at the same time.
sub test_clients {
	my (@clients) = @_;
	is exchange($_, 'hello', 5), 'hello', 'a client is served'
	    for @clients;
	for (@clients) {
		my ($back, $end) = exchange($_, $bulk, undef, half_close => 1);
		is_bytes $back, $bulk, 'the echo and nothing else';
		is $end, 'eof', 'then an end of file';
	}
}

# The configuration in contrib, with the program and the port of this test, and
# with -v: xinetd makes the socket standard error, too.
subtest 'xinetd' => sub {
	my $config = slurp(in_tree('contrib/xinetd'));
	my ($hold, $port) = hold_port();
	my $server = program('echo_server');
	like $config, qr/^\twait\t+= no$/m, 'contrib/xinetd has wait = no';
	is $config =~ s/^(\tserver\t+= ).*/$1$server/m, 1, 'it has a server';
	is $config =~ s/^(\tserver_args\t+= --inetd)$/$1 -v/m, 1,
	    'it has --inetd';
	is $config =~ s/^(\tport\t+= )7$/$1$port/m, 1, 'it has port 7';
	$config =~ s/^(\tuser\t+= )nobody$/$1 . getpwuid $>/me;
	plan skip_all => 'there is no xinetd'
	    if run_command('xinetd', '-version')->{status} == 127;
	open my $file, '>', "$tmp/xinetd" or die $!;
	print $file $config;
	close $file or die $!;
	my $xinetd = start_command({ no_wait => 1, name => 'xinetd' },
	    'xinetd', '-dontfork', '-f', "$tmp/xinetd", '-pidfile',
	    "$tmp/pid");
	test_clients(map { dial_launcher($port) } 1, 2);
	$xinetd->signal('TERM');
	$xinetd->wait;
};

for (['tcpserver', qw(-RHl0)], ['s6-tcpserver']) {
	my ($launcher, @options) = @$_;
	subtest $launcher => sub {
		plan skip_all => "there is no $launcher"
		    if run_command($launcher)->{status} == 127;
		for my $stderr ('a file', 'the socket') {
			my ($hold, $port) = hold_port();
			my @server = (program(), qw(serve --inetd -v));
			@server = ('/bin/sh', '-c', 'exec "$@" 2>&0', 'sh',
			    @server) if $stderr eq 'the socket';
			my $running = start_command({ no_wait => 1,
			    name => $launcher }, $launcher, @options,
			    '127.0.0.1', $port, @server);
			test_clients(map { dial_launcher($port) } 1, 2);
			$stderr eq 'a file' ?
			    ok $running->wait_log(qr/300005 bytes, .*: end/, 2),
			    'standard error has the log' :
			    unlike $running->log, qr/connected|closed/,
			    'standard error has no log';
			$running->signal('TERM');
			$running->wait;
		}
	};
}

# The program receives a listening socket instead of a connection.
subtest 'systemd-socket-activate' => sub {
	plan skip_all => 'there is no systemd-socket-activate'
	    if run_command('systemd-socket-activate', '--version')
	    ->{status} != 0;
	for my $stderr ('', ' 2>&0') {
		my $pid = spawn(sub {
			open STDERR, '>', "$tmp/activate.log";
			exec 'systemd-socket-activate', '--accept', '--inetd',
			    '-l', "$tmp/activate$stderr", '/bin/sh', '-c',
			    "exec \"\$@\"$stderr", 'sh', program(), 'serve',
			    '--inetd', '-v';
		});
		my @clients = map {
			my $client;
			wait_until(sub {
				$client = IO::Socket::UNIX->new(
				    Peer => "$tmp/activate$stderr");
			});
			$client->blocking(0);
			$client;
		} 1, 2;
		test_clients(@clients);
		end_processes($pid);
	}
};

done_testing;
