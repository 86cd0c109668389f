# The PROXY protocol (--proxy-protocol): the log has the address in the header,
# the header is not echoed, and a connection without a valid one gets nothing
# back. t/03-proxy.t tests the parser alone.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use JSON::PP qw(decode_json);
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep);

my $SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";

# A header of version 2.
sub v2 {
	my ($command, $family, $rest) = @_;
	return $SIGNATURE . pack 'CCn/a*', $command, $family, $rest;
}

my $v4 = inet_aton('203.0.113.7') . inet_aton('10.0.0.1') . pack 'nn', 5123, 7;
my $v6 = inet_pton(AF_INET6, '2001:db8::7') . inet_pton(AF_INET6, '::1') .
    pack 'nn', 5124, 7;

# Headers, and the name in the log; undef: the peer of the connection.
my @valid = (
	['v1 TCP4', "PROXY TCP4 203.0.113.7 10.0.0.1 5121 7\r\n",
	    '203.0.113.7:5121'],
	['v1 TCP6', "PROXY TCP6 2001:db8::7 ::1 5122 7\r\n",
	    '[2001:db8::7]:5122'],
	['v1 UNKNOWN', "PROXY UNKNOWN\r\n", undef],
	['v1, the longest', 'PROXY UNKNOWN ' . 'f' x 91 . "\r\n", undef],
	['v2 IPv4', v2(0x21, 0x11, $v4), '203.0.113.7:5123'],
	['v2 IPv6', v2(0x21, 0x21, $v6), '[2001:db8::7]:5124'],
	['v2 IPv4 with TLVs', v2(0x21, 0x11, "$v4\1\0\4echo"),
	    '203.0.113.7:5123'],
	['v2, the longest', v2(0x21, 0x11, $v4 . 'x' x (65535 - length $v4)),
	    '203.0.113.7:5123'],
	['v2 UDP over IPv4', v2(0x21, 0x12, $v4), '203.0.113.7:5123'],
	['v2 Unix', v2(0x21, 0x31, pack 'a108a108', '/run/client', '/x'),
	    'unix:/run/client'],
	['v2 Unix without a name', v2(0x21, 0x31, "\0" x 216), 'unix:'],
	['v2 Unix that looks like a line', v2(0x21, 0x31, pack 'a108a108',
	    "/x\n1.2.3.4:5 connected\e[31m", ''),
	    'unix:/x?1.2.3.4:5 connected?[31m'],
	['v2 without an address', v2(0x21, 0x00, 'tlvs'), undef],
	['v2 LOCAL', v2(0x20, 0x00, ''), undef],
	['v2 LOCAL with an address', v2(0x20, 0x11, $v4), undef]
);

# Headers that are wrong or incomplete, with a part of the warning.
my @wrong = (
	['', 'GET / HTTP/1.0', qr/begins neither/],
	['', 'proxy TCP4 1.2.3.4 1.2.3.4 1 2', qr/begins neither/],
	['', "PROXY\t", qr/begins neither/],
	['', "\r\n\r\nx", qr/begins neither/],
	["PROXY \r\n", '', qr/the protocol/],
	["PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", '', qr/the protocol/],
	["PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", '', qr/without a CR/],
	["PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", '', qr/two addresses/],
	["PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", '', qr/two addresses/],
	["PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n", '', qr/an address/],
	["PROXY TCP4 ::1 ::1 1 2\r\n", '', qr/an address/],
	["PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", '', qr/an address/],
	["PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", '', qr/an address/],
	["PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", '', qr/a port/],
	["PROXY TCP4 1.2.3.4 1.2.3.4 1 02\r\n", '', qr/a port/],
	['PROXY UNKNOWN ', 'f' x 93, qr/more than 107 bytes/],
	[v2(0x11, 0x11, $v4), '', qr/the version/],
	[v2(0x22, 0x11, $v4), '', qr/the command/],
	[v2(0x21, 0x41, $v4), '', qr/the address family/],
	[v2(0x21, 0x10, $v4), '', qr/the address family/],
	[v2(0x21, 0x11, substr $v4, 1), '', qr/too short/],
	[v2(0x21, 0x21, $v4), '', qr/too short/],
	['PROXY TC', undef, qr/of 8 bytes: end of file/],
	[$SIGNATURE, undef, qr/of 12 bytes: end of file/],
	[substr(v2(0x21, 0x11, "${v4}tlvs"), 0, 30), undef,
	    qr/of 30 bytes: end of file/]
);

# Whether a server with these options serves one client at a time.
sub is_serial { $_[0] =~ /blocking/ }

sub peer_of { '127.0.0.1:' . $_[0]->sockport }

# The lines of the log about a client that the log names, or names as the proxy.
sub lines_about {
	my ($server, $peer) = @_;
	return grep { /\Q$peer\E\b/ } split /\n/, $server->log;
}

sub name_of {
	my ($client, $peer) = @_;
	return defined $client ? "$client (via $peer)" : $peer;
}

sub test_valid {
	my ($server, $name, $header, $client) = @_;
	my $sock = dial($server);
	my $peer = peer_of($sock);
	my ($back, $end) = exchange($sock, "${header}PROXY echo", undef,
	    half_close => 1);
	is "$back, $end", 'PROXY echo, eof', "$name: what follows is echoed";
	$server->wait_log(qr/\Q$peer\E\)? closed/);
	my $as = name_of($client, $peer);
	is join("\n", map { s/, [\d.]+ m?s:/:/r } lines_about($server, $peer)),
	    "$as connected\n$as received 10 bytes \"PROXY echo\"\n" .
	    "$as closed after 10 bytes: end of file",
	    'and the log names the client';
}

# A header in pieces, for which the server waits.
sub test_pieces {
	my ($server, $name, $header, $client) = @_;
	my $sock = dial($server);
	my $peer = peer_of($sock);
	my @pieces = length $header > 300 ? unpack '(a20000)*', $header :
	    split //, $header;
	for (@pieces) {
		put($sock, $_);
		sleep 0.0002;
	}
	is exchange($sock, 'echo', 4), 'echo', "$name: in pieces";
	like((lines_about($server, $peer))[0],
	    qr/^\Q@{[ name_of($client, $peer) ]}\E connected$/,
	    'the log names the client');
}

# A client that was served before and after each wrong header.
sub test_wrong {
	my ($server) = @_;
	my $bystander = dial($server);
	my $is_serial = is_serial($server->{name});
	is exchange($bystander, "PROXY UNKNOWN\r\nx", 1), 'x',
	    'another client is served';
	close $bystander if $is_serial;
	for (@wrong) {
		my ($header, $more, $expected) = @$_;
		my $sock = dial($server);
		my $peer = peer_of($sock);
		my ($back, $end) = exchange($sock, $header .
		    (defined $more ? "${more}echo?" : ''), undef,
		    half_close => 1);
		my $shown = show($header . ($more // ''), 40);
		is "$back, $end", ', eof', "$shown: nothing comes back";
		$server->wait_log(qr/\Q$peer: /);
		my @lines = lines_about($server, $peer);
		is scalar @lines, 1, 'one line in the log';
		like $lines[0], qr/^echo serve: \Q$peer\E: (?:wrong|incomplete) PROXY header.*?$expected/,
		    'which is a warning';
		is exchange($bystander, 'y', 1), 'y',
		    'the other client is still served' unless $is_serial;
	}
}

# Connections that are closed without a byte, or after LOCAL, and then a client.
sub health_checks {
	my ($server) = @_;
	my @peers;
	for my $header ('', v2(0x20, 0, '')) {
		my $sock = dial($server);
		push @peers, peer_of($sock);
		is join(' ', exchange($sock, $header, undef,
		    half_close => 1)), ' eof', 'a health check';
		$sock = dial($server);
		push @peers, peer_of($sock);
		put($sock, $header);
		reset_connection($sock);
	}
	my $sock = dial($server);
	is exchange($sock, "PROXY UNKNOWN\r\nx", undef, half_close => 1), 'x',
	    'a client';
	my $peer = peer_of($sock);
	$server->wait_log(qr/^(?=.*\Q$peer\E\b)(?=.*closed)/m);
	return @peers;
}

for my $engine (engines()) {
	subtest $engine => sub {
		my $server = start_server($engine, '--proxy-protocol',
		    '--stream', '--gap=100ms');
		$server->allow(qr/^echo serve: 127\.0\.0\.1:\d+: (?:wrong|incomplete) PROXY header/);
		$server->allow(qr/\(via 127\.0\.0\.1:\d+\) (?:connected$|received |closed )/);
		test_valid($server, @$_) for @valid;
		test_pieces($server, @$_) for @valid[0, 1, 6, 7];
		test_wrong($server);
		my @peers = health_checks($server);
		is join("\n", map { lines_about($server, $_) } @peers), '',
		    'health checks are not logged';

		# The server stops while headers are awaited.
		my @waiting = map { dial($server) } 0, 1;
		put($waiting[1], 'PROXY ');
		my $peer = peer_of($waiting[1]);
		unless (is_serial($engine)) {
			exchange(dial($server), "PROXY UNKNOWN\r\nz", 1);
			$server->signal('TERM');
			is join(' ', get_all($_)), ' eof',
			    'SIGTERM ends a connection without a header'
			    for @waiting;
		}
		close $_ for @waiting;
		$server->wait_log(qr/\Q$peer\E: incomplete /);
		$server->stop(is_serial($engine) ? 'TERM' : undef);
		like $server->log, qr/^echo serve: \Q$peer\E: incomplete PROXY header of 6 bytes: (?:server stopping|end of file)$/m,
		    'an incomplete header is reported';
	};
}

# Received bytes do not extend the timeout of the header. A complete header
# starts the timeout of the client.
sub test_late {
	my ($engine) = @_;
	my $server = start_server($engine, '--proxy-protocol', '--stream',
	    '--idle=300ms', '-q');
	$server->allow(qr/^echo serve: 127\.0\.0\.1:\d+: incomplete PROXY header/);
	my $sock = dial($server);
	my $peer = peer_of($sock);
	my $closed = 0;
	for (1 .. 1000) {
		syswrite $sock, 'P';
		last if $closed = IO::Select->new($sock)->can_read(0.02);
	} continue {
		# The rest of the line of UNKNOWN may be anything.
		syswrite $sock, "ROXY UNKNOWN " if $_ == 1;
	}
	ok $closed, 'a header that is late ends the connection';
	is get($sock, 1), '', 'without a byte for the client';
	ok $server->wait_log(qr/\Q$peer\E: incomplete PROXY header of \d+ bytes: idle\n/),
	    'with a warning';
	close $sock;
	$sock = dial($server);
	$peer = peer_of($sock);
	is get($sock, 1), '', 'so does a connection without a byte';
	ok $server->wait_log(qr/\Q$peer\E: incomplete PROXY header of 0 bytes: idle\n/),
	    'with a warning';
	close $sock;
	$server->stop;
	is scalar(() = $server->log =~ /\n/g), 2, 'and nothing else, with -q';
}

subtest "a late header: $_" => sub { test_late($_) }
    for (grep { !/workers/ } engines())[0, -1];

subtest 'with -v, health checks are logged' => sub {
	my $server = start_server('--select', '--proxy-protocol', '-v');
	for my $peer (health_checks($server)) {
		ok defined wait_until(sub {
			2 == lines_about($server, $peer)
		}), 'two lines' or diag lines_about($server, $peer);
	}
	$server->stop;
};

subtest 'the log in JSON' => sub {
	for my $more ('-q', '', '-v') {
		my $server = start_server('--select', '--proxy-protocol',
		    '--log=json', '--stream', split ' ', $more);
		my @peers = $more eq '-q' ? () : health_checks($server);
		my $sock = dial($server);
		my $peer = peer_of($sock);
		exchange($sock, "$valid[0][1]hi", undef, half_close => 1);
		my $bad = dial($server);
		my $bad_peer = peer_of($bad);
		get_all($bad) if put($bad, "wrong\n");
		close $bad;
		$server->allow(qr/^\{.*\}$/);
		$server->stop;
		my @events = map { decode_json($_) } split /\n/, $server->log;
		my @own = grep { ($_->{via} // '') eq $peer } @events;
		is join(' ', map { "$_->{event}=$_->{peer}" } @own),
		    join(' ', map { "$_=$valid[0][2]" } $more eq '-q' ? () :
		    ('connected', $more eq '-v' ? 'read' : (), 'received',
		    'closed')), 'the client and the proxy have a key each';
		is join("\n", map { $_->{reason} } grep {
			$_->{event} eq 'warning' &&
			    $_->{reason} !~ /^no sandbox/
		} @events), "$bad_peer: wrong PROXY header: it begins neither " .
		    "with \"PROXY \" nor with the signature of version 2",
		    'a wrong header is a warning';
		my %events;
		push @{ $events{$_->{peer} // ''} }, $_->{event} for @events;
		is join(' ', @{ $events{$_} // [] }), $more eq '-v' ?
		    'connected closed' : '', 'a health check' for @peers;
	}
};

# serve accepts the headers that send makes.
subtest 'send --proxy-protocol' => sub {
	my $tmp = File::Temp->newdir;
	my $server = start_server({ listeners => 3 }, usual_engine(),
	    '--proxy-protocol', '-a', '127.0.0.1', '-a', '[::1]', '-a',
	    "unix:$tmp/sock");
	$server->allow(qr/^unix: \(via unix:\d+\) /);
	for my $address ($server->addresses) {
		for my $version (qw(v1 v2)) {
			my $run = run_echo('send', '-v', '-a', $address,
			    "--proxy-protocol=$version", 'hello');
			is "$run->{status} $run->{out}", "0 hello\n",
			    "$version to $address";
			my ($own) = $run->{err} =~ /connected to .* from (\S+)/;
			my $client = $address !~ /^unix/ ?
			    qr/\Q$own\E \(via \Q$own\E\)/ : $version eq 'v2' ?
			    qr/unix: \(via unix:\d+\)/ : qr/unix:\d+/;
			ok $server->wait_log(qr/^$client received 5/m),
			    'the server has read its address';
		}
	}
	$server->stop;

	# The bytes, from a server that sends them back.
	$server = start_server(usual_engine(), '--stream', '-q');
	my $port = $server->port;
	my $loopback = inet_aton('127.0.0.1');
	my $begin = "$SIGNATURE\x21\x11\0\x0c$loopback$loopback";
	my $end = pack 'n', $port;
	for (['v1', qr/^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ $port\r\n$/],
	    ['v2', qr/^\Q$begin\E..\Q$end\E\z/s]) {
		my ($version, $expected) = @$_;
		my $run = run_echo('send', '-n', '-a', $server->address,
		    "--proxy-protocol=$version", 'x');
		is $run->{status}, 1, "$version: the header is surplus for a " .
		    'server without the option';
		like $run->{out} =~ s/x\z//r, $expected, 'the header';
	}
	$server->stop;
	my $udp = run_echo('send', '-u', '--proxy-protocol=v1', '-p1', 'x');
	is $udp->{status}, 2, 'with UDP it is a usage error';
	like $udp->{err}, qr/--proxy-protocol: datagrams have no PROXY header/,
	    'which says why';
};

# A client whose header is expected costs one parser, and no parser after the
# header.
subtest 'memory' => sub {
	my $CLIENTS = 500;
	my $server = start_server(usual_engine(), '--proxy-protocol', '-q');
	plan skip_all => 'memory is read from /proc'
	    unless defined $server->memory;
	plan skip_all => 'a sanitizer keeps memory of its own' if sanitized();
	my $begin = v2(0x21, 0x31, 'x' x 60_000);
	my $serve_all = sub {
		my @socks = map { dial($server) } 1 .. $CLIENTS;
		put($_, substr $begin, 0, 20_000) for @socks;
		# The server has read all of it when another client is served.
		exchange(dial($server), "PROXY UNKNOWN\r\nx", 1) for 1 .. 2;
		return @socks;
	};
	at_most($CLIENTS * (536 + 160) + 65536, sub {
		my $before = $server->memory // return undef;
		my @socks = $serve_all->();
		my $used = $server->memory - $before;
		reset_connection($_) for @socks;
		return $used;
	}, 'an incomplete header of 20000 bytes costs at most 536');
	$server->signal('KILL');
	$server->wait;
};

done_testing;
