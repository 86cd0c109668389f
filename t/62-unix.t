# Unix sockets: the same server and the same clients, by the name of a file or
# by a name that is in no file system.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Socket::UNIX ();
use Test::More;

my $tmp = File::Temp->newdir;
my $path = "$tmp/echo.sock";
my $abstract = 'unix:@echo-test-' . $$;

sub send_to {
	my ($address, @args) = @_;
	return run_echo('send', '-q', '-a', $address, @args);
}

for my $engine (engines()) {
	for my $address ("unix:$path", $abstract) {
		my $server = start_server($engine, '--stream', '--chunk=64k', '-a',
		    $address);
		is $server->address, $address, "$engine: listening on it";
		is send_to($address, 'hello')->{out}, "hello\n",
		    "$engine: $address: a message";
		my $bulk = pattern(3 << 20);
		my $run = run_echo({ in => $bulk }, 'send', '-q', '-a', $address);
		ok $run->{out} eq $bulk && $run->{status} == 0,
		    "$engine: 3 MiB";
		like $server->log, qr/^unix:\d+ received 5 bytes "hello"$/m,
		    "$engine: the log names the peer's process";
		$run = run_echo('check', '-q', '--only=bytes-65536,fin-1M,'
		    . 'odd-pieces,messages', $address);
		is $run->{status}, 0, "$engine: check finds no fault" or
		    diag $run->{out};
		$server->stop;
	}

	# The file: its mode, and that it goes when the server does.
	my $server = start_server($engine, '-a', "unix:$path", '-q');
	is sprintf('%o', (stat $path)[2] & 07777), '600',
	    "$engine: nobody else may connect";
	$server->stop;
	ok !-e $path, "$engine: no file is left behind";
	$server = start_server($engine, '-a', "unix:$path", '-q',
	    '--socket-mode=666');
	is sprintf('%o', (stat $path)[2] & 07777), '666',
	    "$engine: --socket-mode=666";

	# One that is in use stays; one whose server was killed is replaced.
	my $run = run_echo('serve', $engine, '-a', "unix:$path");
	is $run->{status}, 7, "$engine: a second server: exit 7";
	like $run->{err}, qr/\A[^\n]*unix:\Q$path\E: Address already in use[^\n]*\n\z/,
	    "$engine: and one line";
	is send_to("unix:$path", 'still')->{out}, "still\n",
	    "$engine: the first one is still there";
	my @workers = $server->workers;
	kill KILL => $server->pid, @workers;
	$server->wait;
	is send_to("unix:$path", 'x')->{status}, 4,
	    "$engine: killed, it refuses";
	ok -e $path, "$engine: and leaves its file";
	$server = start_server($engine, '-a', "unix:$path", '-q');
	is send_to("unix:$path", 'again')->{out}, "again\n",
	    "$engine: which the next one replaces";
	$server->stop;

	# When a later address cannot be had, the file of an earlier one goes.
	my $taken = start_server($engine, '-q');
	$run = run_echo('serve', $engine, '-a', "unix:$path", '-a',
	    $taken->address);
	is $run->{status}, 7, "$engine: the next address is in use: exit 7";
	ok !-e $path, "$engine: and nothing is left behind";
	$taken->stop;
}

# What is no socket is not touched.
open my $file, '>', $path or die $!;
print $file 'precious';
close $file;
my $run = run_echo('serve', '-a', "unix:$path");
is $run->{status}, 7, 'a file of somebody else: exit 7';
is slurp($path), 'precious', 'which stays as it is';
unlink $path;

$run = send_to("unix:$path", 'x');
is $run->{status}, 4, 'no such socket: nobody listens';
like $run->{err}, qr/\Aecho send: cannot connect to unix:\Q$path\E: No such file or directory \(/,
    'and one line';

# A long path is a path, one too long is not cut.
my $long = "$tmp/" . 'x' x (107 - length "$tmp/");
my $server = start_server('-a', "unix:$long");
is $server->address, "unix:$long", 'a path of 107 bytes';
$server->stop;

done_testing;
