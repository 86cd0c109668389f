# Started by inetd, tcpserver or systemd with Accept=yes, standard input is a
# client's connection. The server does not support that: it says so, but not
# to the client.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Fcntl qw(F_SETFD);
use File::Temp ();
use IO::Socket::IP ();
use IO::Socket::UNIX ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test::More;

# A connection: the client's end, and the one that accept returned.
sub tcp_pair {
	my $listener = IO::Socket::IP->new(Listen => 1,
	    LocalHost => '127.0.0.1', Type => SOCK_STREAM) // die $@;
	my $client = dial('127.0.0.1:' . $listener->sockport);
	return ($client, $listener->accept // die $!);
}

sub unix_pair {
	my $tmp = File::Temp->newdir;
	my $listener = IO::Socket::UNIX->new(Listen => 1,
	    Local => "$tmp/sock") // die $!;
	my $client = IO::Socket::UNIX->new(Peer => "$tmp/sock") // die $!;
	$client->blocking(0);
	return ($client, $listener->accept // die $!);
}

# Runs the server with standard input, output and error as given. Returns its
# exit status.
sub run_with {
	my ($in, $out, $err, @args) = @_;
	my $pid = spawn(sub {
		open STDIN, '<&', $in or die $!;
		open STDOUT, '>&', $out or die $!;
		open STDERR, '>&', $err or die $!;
		exec program(), 'serve', '--port=0', '--count=1', @args;
	});
	waitpid $pid, 0;
	return $? >> 8;
}

for my $kind ([ 'TCP', \&tcp_pair ], [ 'a Unix socket', \&unix_pair ]) {
	my ($name, $pair) = @$kind;
	my ($client, $connection) = $pair->();
	my $err = File::Temp->new;
	is run_with($connection, $connection, $err), 2,
	    "$name as standard input: exit 2";
	like slurp("$err"), qr/\Aecho serve: standard input is a connection[^\n]*\n\z/,
	    'and one line';
	is run_with($connection, $connection, $connection), 2,
	    "$name as standard error too: exit 2";
	close $connection;
	is get_all($client), '', 'and nothing is sent to the client';
}

# A socket pair without an address is a pipe, as Node and the journal use it.
{
	socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC
	    or die $!;
	fcntl $theirs, F_SETFD, 0;
	my $server = start_command({ pass => [$theirs] }, $^X, '-e',
	    'open STDIN, "<&", shift or die; exec @ARGV', fileno $theirs,
	    program(), 'serve', '--port=0', '--stream', '-q');
	is exchange(dial($server), 'hello', 5), 'hello',
	    'a socket pair as standard input is no connection';
	$server->stop;
}

done_testing;
