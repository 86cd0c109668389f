# The interface to a service manager: sockets that it passes to the server
# (LISTEN_FDS, sd_listen_fds(3)), and notifications that it expects
# (NOTIFY_SOCKET, sd_notify(3)).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Fcntl qw(F_SETFD);
use File::Temp ();
use IO::Socket::IP ();
use IO::Socket::UNIX ();
use POSIX ();
use Socket qw(MSG_OOB SOCK_DGRAM SOCK_STREAM);
use Test::More;

my $tmp = File::Temp->newdir;

# Passes sockets as a service manager does, from descriptor 3 on. Arguments: the
# descriptors, a command.
my $pass = <<'END';
my @fds = split /,/, shift;
for my $i (reverse 0 .. $#fds) {
	POSIX::dup2($fds[$i], 3 + $i) // die $!;
}
$ENV{LISTEN_FDS} = @fds;
$ENV{LISTEN_PID} = $ENV{WRONG_PID} // $$;
exec @ARGV or die $!;
END

# Starts a server that receives the sockets.
sub activated {
	my ($sockets, @args) = @_;
	my %how = ref $args[0] ? %{ shift @args } : ();
	fcntl $_, F_SETFD, 0 for @$sockets;
	my $fds = join ',', map { fileno $_ } @$sockets;
	my $server = start_server({ %how, pass => $sockets,
	    wrap => [ $^X, '-MPOSIX', '-e', $pass, $fds ] }, @args);
	fcntl $_, F_SETFD, 1 for @$sockets;
	return $server;
}

# A copy of a socket at a high number, so that moving one to 3 overwrites none.
sub at_high_number {
	my ($sock) = @_;
	my $fd = POSIX::dup2(fileno $sock, 40 + fileno $sock) // die $!;
	open my $copy, '+<&=', $fd or die $!;
	return $copy;
}

sub tcp_listener {
	return IO::Socket::IP->new(Listen => 100, LocalHost => '127.0.0.1',
	    Type => SOCK_STREAM) // die $@;
}

sub test_passed {
	my ($engine) = @_;
	my $path = "$tmp/sock";
	my ($tcp, $unix) = (tcp_listener(), IO::Socket::UNIX->new(
	    Listen => 100, Local => $path));
	my $early = IO::Socket::IP->new(PeerHost => '127.0.0.1',
	    PeerPort => $tcp->sockport) // die $@;
	$early->blocking(0);
	put($early, 'ear');
	send $early, 'l', MSG_OOB;
	put($early, 'y');
	my $server = activated([ at_high_number($tcp), at_high_number($unix) ],
	    { listeners => 2, no_port => 1 }, $engine);
	is join(' ', $server->addresses),
	    '127.0.0.1:' . $tcp->sockport . " unix:$path",
	    'the server listens on the passed sockets only';
	is get($early, 5), 'early', 'a client that connected before the ' .
	    'server started is served, and its urgent byte comes back';
	close $early;
	is exchange(dial($server), 'tcp', 3), 'tcp',
	    'a client is served over TCP';
	is run_echo('send', '-q', '-a', "unix:$path", 'hi')->{out}, "hi\n",
	    'a client is served over the Unix socket';
	$server->stop;
	ok -e $path, 'the server does not remove the file of the socket';
	unlink $path;

	# The sockets belong to the manager, and the next start has them again.
	$server = activated([ at_high_number($tcp) ], { no_port => 1 }, $engine,
	    '--count=1', '--stream');
	is exchange(dial($server), 'one', undef, half_close => 1), 'one',
	    'a server that ends after one client serves it';
	$server->stop(undef);
	$server = activated([ at_high_number($tcp) ], { no_port => 1 },
	    $engine);
	is exchange(dial($server), 'more', 4), 'more',
	    'the next server can use the socket, too';
	$server->stop;

	local $ENV{WRONG_PID} = 1;
	$server = activated([ at_high_number($tcp) ], $engine);
	isnt $server->port, $tcp->sockport,
	    'sockets for another process (LISTEN_PID) are not used';
	$server->stop;
}

# A worker that was stopped while the last client was served must notice that no
# other client will come, although no socket is closed that could wake the
# worker.
sub test_stopped_worker {
	my ($engine) = @_;
	my $tcp = tcp_listener();
	my $server = activated([ at_high_number($tcp) ], { no_port => 1 },
	    $engine, '--workers=2', '--count=1', '--stream');
	my ($stopped) = $server->workers;
	kill STOP => $stopped;
	is exchange(dial($server), 'last', undef, half_close => 1), 'last',
	    'the last client is served while one of two workers is stopped';
	kill CONT => $stopped;
	$server->stop(undef);
}

# UDP sockets among others, with datagrams that arrived before the server runs.
sub test_passed_udp {
	my ($engine) = @_;
	my $tcp = tcp_listener();
	my @udp = map { IO::Socket::IP->new(LocalHost => $_, Proto => 'udp',
	    Type => SOCK_DGRAM) // die $@ } '127.0.0.1', '::1';
	my @clients = map { IO::Socket::IP->new(PeerHost => $_->sockhost,
	    PeerPort => $_->sockport, Proto => 'udp', Type => SOCK_DGRAM) //
	    die $@ } @udp;
	send $_, 'early', 0 for @clients;
	my $server = activated([ map { at_high_number($_) } $udp[0], $tcp,
	    $udp[1] ], { listeners => 3, no_port => 1 }, $engine);
	is join(' ', $server->addresses), 'udp:127.0.0.1:' .
	    $udp[0]->sockport . ' 127.0.0.1:' . $tcp->sockport . ' udp:[::1]:' .
	    $udp[1]->sockport, 'the server serves the passed UDP sockets';
	for my $client (@clients) {
		recv $client, my $reply, 100, 0
		    if IO::Select->new($client)->can_read($DEADLINE);
		is $reply, 'early', 'a datagram that arrived before the ' .
		    'server started is answered';
	}
	is exchange(dial('127.0.0.1:' . $tcp->sockport), 'tcp', 3), 'tcp',
	    'TCP is served, too';
	$server->stop;
	like $server->log, qr/answered 2 datagrams, 10 bytes; refused 0, drop/,
	    'both are counted';
}

sub test_notifications {
	my ($engine) = @_;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
	    Local => "$tmp/notify") // die $!;
	local $ENV{NOTIFY_SOCKET} = "$tmp/notify";
	my $server = start_server($engine);
	my $next = sub {
		IO::Select->new($socket)->can_read($DEADLINE) or
		    return 'nothing';
		$socket->recv(my $state, 100);
		return $state;
	};
	is $next->(), 'READY=1', 'the server notifies that it is ready';
	$server->stop;
	is $next->(), 'STOPPING=1', 'it notifies that it stops';
	ok !IO::Select->new($socket)->can_read(0), 'and nothing more';

	# The manager's queue is full: the server serves, and notifies later.
	my $sender = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
	    Peer => "$tmp/notify") // die $!;
	$sender->blocking(0);
	my $queued = 0;
	$queued++ while $sender->send('full');
	$server = start_server($engine);
	is exchange(dial($server), 'hello', 5), 'hello',
	    'a full queue of notifications does not stop the server';
	$next->() for 1 .. $queued;
	is $next->(), 'READY=1', 'the notification comes later';
	$server->stop;
	is $next->(), 'STOPPING=1', 'and the next one too';
	1 while $sender->send('full');
	$server = start_server($engine);
	$server->stop;
	unlink "$tmp/notify";
}

for my $engine (engines()) {
	subtest "$engine: passed sockets" => sub { test_passed($engine) };
	subtest "$engine: passed UDP sockets" =>
	    sub { test_passed_udp($engine) };
	subtest "$engine: a stopped worker" =>
	    sub { test_stopped_worker($engine) };
	subtest "$engine: notifications" =>
	    sub { test_notifications($engine) };
}

# The server refuses descriptors that are neither listening stream sockets nor
# UDP sockets.
open my $null, '<', '/dev/null' or die $!;
my $datagram = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
    Local => "$tmp/datagram") // die $!;
for ([ $null, 'a file' ], [ $datagram, 'a Unix datagram socket' ]) {
	my ($handle, $what) = @$_;
	my $sock = at_high_number($handle);
	fcntl $sock, F_SETFD, 0;
	my $run = run_echo({ command => $^X }, '-MPOSIX', '-e', $pass,
	    fileno $sock, program(), 'serve');
	is $run->{status}, 7, "$what is passed: exit 7";
	like $run->{err}, qr/\Aecho serve: descriptor 3, one of LISTEN_FDS=1, is not a listening stream socket or a UDP socket: .*\n\z/,
	    "$what is passed: one line says so";
}

SKIP: {
	my ($activate) = grep { -x } map { "$_/systemd-socket-activate" }
	    split /:/, $ENV{PATH};
	skip 'there is no systemd-socket-activate', 1 unless $activate;
	my $path = "$tmp/activate";
	my $pid = spawn(sub {
		open STDERR, '>', '/dev/null';
		open STDOUT, '>', '/dev/null';
		exec $activate, '-l', $path, program(), 'serve',
		    '-q', usual_engine(), '--count=1', '--stream';
	});
	my $sock;
	wait_until(sub { $sock = IO::Socket::UNIX->new(Peer => $path) });
	$sock->blocking(0);
	is exchange($sock, 'activated', undef, half_close => 1), 'activated',
	    'systemd-socket-activate starts the server for the first client';
	waitpid $pid, 0;
	is $?, 0, 'it ends with status 0';
}

done_testing;
