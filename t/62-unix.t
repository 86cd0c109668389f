# Unix sockets: the same server and the same clients, with the path of a file
# or with an abstract name, which is in no file system.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my $tmp = File::Temp->newdir;
my $path = "$tmp/echo.sock";
my $abstract = "unix:\@$tmp/echo";	# unique, as the folder's name is

sub send_to {
	my ($address, @args) = @_;
	return run_echo('send', '-q', '-a', $address, @args);
}

sub mode_of { sprintf '%o', (stat $_[0])[2] & 07777 }

sub test_echo {
	my ($engine, $address) = @_;
	my $server = start_server($engine, '--stream', '--chunk=64k', '-a',
	    $address);
	is $server->address, $address, 'the server prints the address';
	is send_to($address, 'hello')->{out}, "hello\n",
	    'a message comes back';
	my $bulk = pattern(3 << 20);
	my $run = run_echo({ in => $bulk }, 'send', '-q', '-a', $address);
	is $run->{status}, 0, '3 MiB are sent';
	is_bytes $run->{out}, $bulk, 'and come back';
	like $server->log, qr/^unix:\d+ received 5 bytes "hello"$/m,
	    'the log names the process of the client';
	is run_echo('check', '-q', '--only=bytes-65536,fin-1M,odd-pieces,' .
	    'messages', $address)->{status}, 0, 'echo check finds no fault';
	$server->stop;
}

sub test_file {
	my ($engine) = @_;
	my $server = start_server($engine, '-a', "unix:$path", '-q');
	is mode_of($path), '600', 'only its user may connect';
	$server->stop;
	ok !-e $path, 'the server removes the file when it ends';
	$server = start_server($engine, '-a', "unix:$path", '-q',
	    '--socket-mode=666');
	is mode_of($path), '666', '--socket-mode=666 sets the mode';

	my $run = run_echo('serve', $engine, '-a', "unix:$path");
	is $run->{status}, 7, 'a second server on the same path: exit 7';
	like $run->{err}, qr/\A[^\n]*unix:\Q$path\E: Address already in use[^\n]*\n\z/,
	    'one line names the path';
	is send_to("unix:$path", 'still')->{out}, "still\n",
	    'the first server goes on';

	kill KILL => $server->processes;
	$server->wait;
	wait_until(sub { send_to("unix:$path", 'x')->{status} == 4 });
	is send_to("unix:$path", 'x')->{status}, 4,
	    'after it was killed connections are refused';
	ok -e $path, 'its file is left';
	$server = start_server($engine, '-a', "unix:$path", '-q');
	is send_to("unix:$path", 'again')->{out}, "again\n",
	    'the next server replaces the file';
	$server->stop;

	my $other = start_server($engine, '-q');
	$run = run_echo('serve', $engine, '-a', "unix:$path", '-a',
	    $other->address);
	is $run->{status}, 7, 'a second address that is in use: exit 7';
	ok !-e $path, 'the file of the first address is removed';
	$other->stop;
}

sub refuses_name {
	my ($engine, $name) = @_;
	for (['serve', $engine, '-a', $name], ['send', '-a', $name, 'x']) {
		my $run = run_echo(@$_);
		is $run->{status}, 2, "@$_[0]: exit 2";
		like $run->{err}, qr/\A\N*"\Q$name\E": this system has no abstract names\N*\n\z/,
		    "@$_[0]: one line says why";
	}
}

for my $engine (engines()) {
	subtest "$engine: a path" => sub { test_echo($engine, "unix:$path") };
	subtest "$engine: an abstract name" => sub {
		system_has('linux') ? test_echo($engine, $abstract) :
		    refuses_name($engine, $abstract);
	};
	subtest "$engine: the file" => sub { test_file($engine) };
}

subtest 'a file that is not a socket' => sub {
	open my $file, '>', $path or die $!;
	print $file 'precious';
	close $file;
	is run_echo('serve', '-a', "unix:$path")->{status}, 7, 'exit 7';
	is slurp($path), 'precious', 'the file is unchanged';
	unlink $path;
};

subtest 'a path that does not exist' => sub {
	my $run = send_to("unix:$path", 'x');
	is $run->{status}, 4, 'a client cannot connect: exit 4';
	like $run->{err}, qr/\Aecho send: cannot connect to unix:\Q$path\E: No such file or directory \(/,
	    'one line says why';
};

subtest 'a long path' => sub {
	my $long = "$tmp/" . 'x' x (107 - length "$tmp/");
	my $server = start_server('-a', "unix:$long");
	is $server->address, "unix:$long", 'it may have 107 bytes';
	$server->stop;
};

done_testing;
