# The file of a Unix socket belongs to one server: another server neither
# takes it while the first one runs, nor removes it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Socket::UNIX ();
use Socket qw(MSG_OOB SOCK_STREAM);
use Test::More;

my $tmp = File::Temp->newdir;
my $path = "$tmp/echo.sock";

sub answers { run_echo('send', '-q', '-a', "unix:$path", 'hello')->{out} }

# A socket file on which no process listens, as a killed server leaves it.
sub leave_stale_file {
	unlink $path;
	IO::Socket::UNIX->new(Local => $path, Listen => 1) // die $!;
}

for my $engine (engines_but('--uring')) {
	subtest $engine => sub {
		my $server = start_server($engine, '--count=5', '-a',
		    "unix:$path");
		my $run = run_echo('serve', $engine, '-a', "unix:$path");
		is $run->{status}, 7, 'a second server on the path exits 7';
		unlike $run->{err}, qr/--port/, 'and does not advise a port';
		is answers(), "hello\n", 'the first server still answers';
		$server->signal('TERM');
		$server->wait;
		my $connected = () = $server->log =~ / connected$/mg;
		is $connected, 1, 'the second server was not its client';

		$server = start_server($engine, '-q', '-a', "unix:$path");
		unlink $path or die $!;
		my $next = start_server($engine, '-q', '-a', "unix:$path");
		$server->stop;
		ok -S $path, 'a server that stops leaves the file of another';
		is answers(), "hello\n", 'which still answers';
		$next->stop;
		ok !-e $path, 'and removes its own file';
	};
}

# Four servers start at once on a file that was left behind.
subtest 'one of four servers gets the path' => sub {
	for my $round (1 .. 20) {
		leave_stale_file();
		my @servers = map { start_command({ no_wait => 1 }, program(),
		    'serve', '-q', '-a', "unix:$path") } 1 .. 4;
		wait_until(sub {
			3 == grep { process_gone($_->pid) } @servers;
		});
		my @ended = grep { process_gone($_->pid) } @servers;
		is join(' ', map { $_->wait >> 8 } @ended), '7 7 7',
		    "round $round: three exit 7" or last;
		my ($owner) = grep { !defined $_->{status} } @servers;
		is answers(), "hello\n", 'and the fourth answers';
		$owner->wait_listening(1);
		$owner->stop;
	}
};

# A server that has bound the path, but does not listen yet, is not stale.
SKIP: {
	skip 'no strace here that can delay a call', 1 if run_command('strace',
	    '-e', 'inject=listen:delay_enter=1', 'true')->{status} != 0;
	unlink $path;
	my $slow = start_command({ no_wait => 1 }, 'strace', '-qq', '-o',
	    '/dev/null', '-e', 'inject=listen:delay_enter=600000', program(),
	    'serve', '-q', '-a', "unix:$path");
	ok wait_until(sub { -S $path }), 'the first server has bound the path';
	my $run = run_echo('serve', '-q', '-a', "unix:$path", '--count=1');
	is $run->{status}, 7, 'a second server exits 7';
	$slow->wait_listening(1);
	is answers(), "hello\n", 'and the first one answers';
	end_processes(split ' ', slurp('/proc/' . $slow->pid . '/task/' .
	    $slow->pid . '/children'));
	$slow->wait;
}

# An urgent byte (MSG_OOB) is a byte like any other.
for my $engine (engines()) {
	my $server = start_server($engine, '-q', '-a', "unix:$path");
	my $sock = IO::Socket::UNIX->new(Peer => $path) // die $!;
	syswrite $sock, 'abc';
	SKIP: {
		skip 'this kernel has no urgent byte on Unix sockets', 1
		    unless send $sock, 'X', MSG_OOB;
		syswrite $sock, 'def';
		$sock->blocking(0);
		is exchange($sock, '', undef, half_close => 1), 'abcXdef',
		    "$engine: an urgent byte comes back in its place";
	}
	close $sock;
	$server->stop;
}

done_testing;
