# check --direct: a test that fails behind a proxy is repeated without it, and
# the message says on which side the fault is.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use EchoTest;
use Fcntl qw(F_SETFD);
use File::Temp ();
use IO::Socket::IP ();
use Socket qw(SOCK_STREAM);
use Test::More;
use WrongServers;

$ENV{PATH} .= ':/usr/sbin:/sbin';
my $dir = File::Temp->newdir;

# Runs check with --direct, both given as servers or addresses.
sub direct {
	my ($to, $direct, @args) = @_;
	return check($to, '--direct', ref $direct ? $direct->address : $direct,
	    @args);
}

# The messages of the failed tests by name.
sub messages {
	my ($yaml) = parse_tap($_[0])->{yaml} // {};
	return { map { $_ => $yaml->{$_}{message} } keys %$yaml };
}

my $right = start_server('--select', '-q');
my $there = $right->address;
my $correct = qr/; correct at \Q$there\E, so the fault is in between$/;

subtest 'a wrong server in front of a correct one' => sub {
	my $wrong = start_wrong('one-recv');
	my $run = direct($wrong, $right, '--only=bytes-1,two-bursts');
	is $run->{status}, 1, 'exit status';
	is $run->{err}, '', 'nothing on stderr';
	my $messages = messages($run);
	is join(' ', keys %$messages), 'two-bursts',
	    'the test fails all the same';
	like $messages->{'two-bursts'},
	    qr/^ended the connection after 70 of 140 bytes.*$correct/, 'message';
};

subtest 'the same fault on both sides' => sub {
	my ($wrong, $same) = map { start_wrong('one-recv') } 1, 2;
	my $messages = messages(direct($wrong, $same, '--only=two-bursts'));
	my $address = $same->address;
	like $messages->{'two-bursts'}, qr/; the same fault at \Q$address\E$/,
	    'message';
};

subtest 'another fault at the direct address' => sub {
	my ($wrong, $other) = map { start_wrong($_) } qw(one-recv upper);
	my $messages = messages(direct($wrong, $other, '--only=two-bursts'));
	my $address = $other->address;
	like $messages->{'two-bursts'}, qr/^ended .*; at \Q$address\E: ./,
	    'message';
	unlike $messages->{'two-bursts'}, qr/in between/, 'no side is blamed';
};

subtest 'no server at the direct address' => sub {
	my ($holder, $closed) = closed_port();
	my $wrong = start_wrong('one-recv');
	my $run = direct($wrong, $closed, '--only=bytes-1,two-bursts');
	is $run->{status}, 1, 'exit status';
	like messages($run)->{'two-bursts'},
	    qr/; cannot connect to \Q$closed\E: /, 'message';
	is direct($right, $closed, '--only=bytes-1')->{status}, 0,
	    'without a failure the address is not used';
};

subtest 'usage errors' => sub {
	is direct($right, 'localhost:0')->{status}, 2, 'port 0';
	my $run = direct($right, $right, '--start=true');
	is $run->{status}, 2, '--start and --direct';
	like $run->{err}, qr/exclude each other/, 'reason';
};

# The server of a test behind a proxy is reached at this address.
sub proxy_config {
	my ($name, $text) = @_;
	open my $f, '>', "$dir/$name" or die $!;
	print $f $text;
	close $f or die $!;
	return "$dir/$name";
}

# A port that was free a short time ago, for a proxy that cannot choose a port.
sub free_port {
	my ($holder, $address) = closed_port();
	my ($port) = $address =~ /:(\d+)$/;
	return $port;
}

# Starts a proxy at a free port, and waits until it listens. The function
# returns its command for a port. Another program may take the port first.
sub start_proxy {
	my ($command) = @_;
	for (1 .. 5) {
		my $port = free_port();
		my $proxy = start_command({ no_wait => 1, name => 'proxy' },
		    $command->($port));
		$proxy->{address} = "127.0.0.1:$port";
		my $ready = wait_until(sub {
			process_gone($proxy->pid) ||
			    IO::Socket::IP->new(PeerHost => '127.0.0.1',
			    PeerPort => $port, Timeout => 1)
		});
		return $proxy if defined $ready && !process_gone($proxy->pid);
		diag $proxy->log;
	}
	die 'no proxy';
}

# Whether a program is installed, that is, whether it can be run with these
# arguments.
sub has { run_command(@_)->{status} != 127 }

# Asserts that all tests pass behind a proxy. If the proxy does not forward the
# client's end of file, asserts that only tests about the end of file fail, and
# that each message says that the proxy is the cause. The bytes that the proxy
# has forwarded before the FIN decide which of these tests fail.
sub is_proxy_result {
	my ($proxy, $breaks_fin) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# On a busy machine HAProxy 2.6 was seen to reset a connection of which
	# both sides had ended, with 48 KiB still to send; and the server itself
	# may be too slow to show that it is correct.
	my $messages = measure_again(sub { messages(direct($proxy, $right)) },
	    sub {
		my @failed = values %{ $_[0] };
		return $breaks_fin ? !grep { !/$correct/ } @failed : !@failed;
	    });
	my @failed = sort keys %$messages;
	return is "@failed", '', 'no test fails' unless $breaks_fin;
	isnt join(' ', grep { /^fin/ } @failed), '', 'a test of FIN fails';
	is join(' ', grep { !/^fin/ } @failed), '', 'no other kind of test fails';
	like $messages->{$_}, $correct, $_ for @failed;
}

SKIP: {
	skip 'there is no haproxy', 1 unless has('haproxy', '-v');
	subtest 'haproxy' => sub {
		is_proxy_result(start_proxy(sub {
			'haproxy', '-db', '-f', proxy_config('haproxy.cfg',
			    <<"CONFIG")
defaults
	mode tcp
	timeout client 1m
	timeout server 1m
	timeout connect 10s
listen echo
	bind 127.0.0.1:$_[0]
	server one $there
CONFIG
		}));
	};
}

SKIP: {
	my ($module) = grep { -e } '/usr/lib/nginx/modules/ngx_stream_module.so';
	skip 'there is no nginx with its stream module', 2
	    unless $module && has('nginx', '-v');
	for my $half_close (qw(off on)) {
		subtest "nginx, proxy_half_close $half_close" => sub {
			my $proxy = start_proxy(sub {
				my $file = proxy_config('nginx.conf', <<"CONFIG");
load_module $module;
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log stderr;
events { }
stream {
	server {
		listen 127.0.0.1:$_[0];
		proxy_pass $there;
		proxy_half_close $half_close;
	}
}
CONFIG
				return ('nginx', '-p', "$dir", '-e', 'stderr',
				    '-c', $file);
			});
			is_proxy_result($proxy,
			    $half_close eq 'off');
		};
	}
}

SKIP: {
	skip 'there is no socat', 1 unless has('socat', '-V');
	subtest 'socat' => sub {
		is_proxy_result(start_proxy(sub { ('socat', '-t30',
		    "TCP-LISTEN:$_[0],bind=127.0.0.1,reuseaddr,fork",
		    "TCP:$there") }));
	};
}

SKIP: {
	skip 'there is no xinetd', 1 unless has('xinetd', '-version');
	subtest 'xinetd' => sub {
		my ($host, $port) = split /:/, $there;
		is_proxy_result(start_proxy(sub {
			'xinetd', '-dontfork', '-pidfile', "$dir/xinetd.pid",
			    '-f', proxy_config('xinetd.conf', <<"CONFIG")
service redirected
{
	type = UNLISTED
	socket_type = stream
	protocol = tcp
	bind = 127.0.0.1
	port = $_[0]
	wait = no
	user = $>
	redirect = $host $port
	instances = UNLIMITED
	per_source = UNLIMITED
	cps = 10000 1
}
CONFIG
		}), 1);
	};
}

done_testing;
