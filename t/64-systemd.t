# What a service manager passes and wants to hear: sockets (LISTEN_FDS) and
# notifications (NOTIFY_SOCKET).
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

# As a manager does: sockets at descriptor 3 and on, and who they are for.
# Arguments: the descriptors, a command.
my $pass = <<'END';
my @fds = split /,/, shift;
for my $i (reverse 0 .. $#fds) {
	POSIX::dup2($fds[$i], 3 + $i) // die $!;
}
$ENV{LISTEN_FDS} = @fds;
$ENV{LISTEN_PID} = $ENV{WRONG_PID} // $$;
exec @ARGV or die $!;
END

sub activated {
	my ($sockets, @args) = @_;
	my %how = ref $args[0] ? %{ shift @args } : ();
	fcntl $_, F_SETFD, 0 for @$sockets;
	my $fds = join ',', map { fileno $_ } @$sockets;
	my $server = start_server({ %how, pass => $sockets, wrap => [ $^X, '-MPOSIX', '-e', $pass,
	    $fds ] }, @args);
	fcntl $_, F_SETFD, 1 for @$sockets;
	return $server;
}

# A descriptor far from 3, so that none is in the way of another.
sub far {
	my ($sock) = @_;
	my $fd = POSIX::dup2(fileno $sock, 40 + fileno $sock) // die $!;
	open my $dup, '+<&=', $fd or die $!;
	return $dup;
}

sub listener {
	return IO::Socket::IP->new(Listen => 100, LocalHost => '127.0.0.1',
	    Type => SOCK_STREAM) // die $@;
}

for my $engine (engines()) {
	my $path = "$tmp/sock";
	my ($tcp, $unix) = (listener(), IO::Socket::UNIX->new(Listen => 100,
	    Local => $path));
	my $early = IO::Socket::IP->new(PeerHost => '127.0.0.1',
	    PeerPort => $tcp->sockport) // die $@;
	$early->blocking(0);
	put($early, 'ear');
	send $early, 'l', MSG_OOB;
	put($early, 'y');
	my $server = activated([ far($tcp), far($unix) ],
	    { listeners => 2, no_port => 1 }, $engine);
	is join(' ', $server->addresses),
	    '127.0.0.1:' . $tcp->sockport . " unix:$path",
	    "$engine: it listens on what was passed, and on nothing else";
	is get($early, 5), 'early', "$engine: a client that connected before " .
	    'the server started is served, and its urgent byte comes back';
	close $early;
	is exchange(dial($server), 'tcp', 3), 'tcp', "$engine: TCP";
	is run_echo('send', '-q', '-a', "unix:$path", 'hi')->{out}, "hi\n",
	    "$engine: a Unix socket";
	$server->stop;
	ok -e $path, "$engine: whose file is not the server's to remove";
	unlink $path;

	# The sockets stay the manager's: the next start has them again.
	$server = activated([ far($tcp) ], { no_port => 1 }, $engine,
	    '--count=1', '--stream');
	is exchange(dial($server), 'one', undef, half_close => 1), 'one',
	    "$engine: once more, for one client";
	$server->stop(undef);
	$server = activated([ far($tcp) ], { no_port => 1 }, $engine);
	is exchange(dial($server), 'more', 4), 'more', "$engine: and again";
	$server->stop;

	# A worker that has slept through the last client is told that there
	# are no more: nothing is closed that could wake it.
	$server = activated([ far($tcp) ], { no_port => 1 }, $engine,
	    '--workers=2', '--count=1', '--stream');
	my ($asleep) = $server->workers;
	kill STOP => $asleep;
	is exchange(dial($server), 'last', undef, half_close => 1), 'last',
	    "$engine: the last client, when one of two workers sleeps";
	kill CONT => $asleep;
	$server->stop(undef);

	# What is passed for another process is left alone.
	{
		local $ENV{WRONG_PID} = 1;
		$server = activated([ far($tcp) ], $engine);
		isnt $server->port, $tcp->sockport,
		    "$engine: LISTEN_PID of another process";
		$server->stop;
	}

	# Notifications.
	my $to = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
	    Local => "$tmp/notify") // die $!;
	local $ENV{NOTIFY_SOCKET} = "$tmp/notify";
	$server = start_server($engine);
	my $heard = sub {
		IO::Select->new($to)->can_read($DEADLINE) or return 'nothing';
		$to->recv(my $state, 100);
		return $state;
	};
	is $heard->(), 'READY=1', "$engine: told that it is ready";
	$server->stop;
	is $heard->(), 'STOPPING=1', "$engine: and that it stops";
	ok !IO::Select->new($to)->can_read(0), "$engine: once";

	# The manager's queue is full: the server serves, and notifies later.
	my $from = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
	    Peer => "$tmp/notify") // die $!;
	$from->blocking(0);
	my $queued = 0;
	$queued++ while $from->send('full');
	$server = start_server($engine);
	is exchange(dial($server), 'hello', 5), 'hello',
	    "$engine: a full queue of notifications does not stop the server";
	$heard->() for 1 .. $queued;
	is $heard->(), 'READY=1', "$engine: and the notification comes later";
	$server->stop;
	is $heard->(), 'STOPPING=1', "$engine: and the next one";
	$queued = 0;
	$queued++ while $from->send('full');
	$server = start_server($engine);
	$server->stop;
	unlink "$tmp/notify";
}

# What is no listening socket is refused.
open my $null, '<', '/dev/null' or die $!;
my $udp = IO::Socket::IP->new(LocalHost => '127.0.0.1', Type => SOCK_DGRAM,
    Proto => 'udp') // die $@;
for ([ $null, 'a file' ], [ $udp, 'a datagram socket' ]) {
	my $sock = far($_->[0]);
	fcntl $sock, F_SETFD, 0;
	my $run = run_echo({ command => $^X }, '-MPOSIX', '-e', $pass,
	    fileno $sock, program(), 'serve');
	is $run->{status}, 7, "$_->[1] is passed: exit 7";
	like $run->{err}, qr/\Aecho serve: descriptor 3, one of LISTEN_FDS=1, is not a listening stream socket: .*\n\z/,
	    'and one line';
}

SKIP: {
	my $activate = (grep { -x } map { "$_/systemd-socket-activate" }
	    split /:/, $ENV{PATH})[0];
	skip 'no systemd-socket-activate here', 1 unless $activate;
	my $path = "$tmp/activate";
	my $pid = spawn(sub {
		open STDERR, '>', '/dev/null';
		open STDOUT, '>', '/dev/null';
		exec $activate, '-l', $path, program(), 'serve',
		    '-q', '--epoll', '--count=1', '--stream';
	});
	my $sock;
	for (my $until = time + $DEADLINE; !$sock && time < $until;) {
		$sock = IO::Socket::UNIX->new(Peer => $path);
		select undef, undef, undef, 0.02 unless $sock;
	}
	$sock->blocking(0);
	is exchange($sock, 'activated', undef, half_close => 1), 'activated',
	    'systemd-socket-activate starts it for the first client';
	waitpid $pid, 0;
	is $?, 0, 'and it ends well';
}

done_testing;
