# Every byte comes back: the six kinds of clients that the homework has, with
# messages of all the sizes at which a wrong server fails.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(MSG_WAITALL);
use Test::More;

my %messages = map { ("$_ bytes" => pattern($_)) } 1, 13, 15, 16, 17, 32, 52,
    4096, 5000, 100000;
$messages{'768 binary bytes'} = join '', map { chr } (0 .. 255) x 3;
$messages{'UTF-8'} = "Gr\xc3\xbc\xc3\x9fe, \xd0\xbc\xd0\xb8\xd1\x80, " .
    "\xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x91\x8b\n";
my @messages = sort { length $messages{$a} <=> length $messages{$b} }
    keys %messages;

# Each kind takes a connection and the message, and returns the received bytes.
# The kinds in %writes_too write the message; for the other kinds, the test has
# already written the message.
my %kinds = (
	'stops at a chunk shorter than 16' => sub {
		my ($sock, $message) = @_;
		my $back = '';
		my $flags = flags_for($sock, $message);
		while (1) {
			my $chunk = recv_once($sock, 16, $flags) //
			    return 'late';
			$back .= $chunk;
			return $back if length $chunk < 16;
		}
	},
	'counts bytes' => sub {
		my ($sock, $message) = @_;
		return scalar exchange($sock, $message, length $message);
	},
	'waits for end of file' => sub {
		my ($sock) = @_;
		my ($back, $end) = get_all($sock);
		return $end eq 'eof' ? $back : "$back and then $end";
	},
	'compares' => sub {
		my ($sock, $message) = @_;
		my $back = '';
		while ($back ne $message) {
			my $chunk = recv_once($sock, 4096, 0) // return 'late';
			return $back if $chunk eq '';
			$back .= $chunk;
		}
		return $back;
	},
	'calls recv once' => sub {
		my ($sock, $message) = @_;
		my $flags = flags_for($sock, $message);
		return recv_once($sock, length($message) + !$flags, $flags);
	},
	'half-closes first' => sub {
		my ($sock, $message) = @_;
		my ($back, $end) = exchange($sock, $message, undef,
		    half_close => 1);
		return $end eq 'eof' ? $back : "$back and then $end";
	}
);

my %writes_too = map { $_ => 1 } 'counts bytes', 'half-closes first';

# A message of more than one segment (64 KiB on loopback) arrives in several
# parts, so that one recv returns all of it only with MSG_WAITALL.
sub flags_for {
	my ($sock, $message) = @_;
	$sock->blocking(1);
	return length $message > 5000 ? MSG_WAITALL : 0;
}

sub recv_once {
	my ($sock, $size, $flags) = @_;
	IO::Select->new($sock)->can_read($DEADLINE) or return undef;
	defined recv $sock, my $chunk, $size, $flags or return undef;
	return $chunk;
}

# Whether this kind of client reads until the server's end of file, which with
# --message comes after the pause, and with --stream does not come.
sub reads_to_end {
	my ($kind, $name) = @_;
	return 1 if $kind eq 'waits for end of file';
	return $kind eq 'stops at a chunk shorter than 16' &&
	    length($messages{$name}) % 16 == 0;
}

# Connects and sends the message, unless the kind does.
sub begin {
	my ($server, $kind, $name) = @_;
	my $sock = dial($server);
	put($sock, $messages{$name}) unless $writes_too{$kind};
	return { kind => $kind, name => $name, sock => $sock,
	    server => $server };
}

sub comes_back {
	my ($case) = @_;
	my $message = $messages{$case->{name}};
	is_bytes $kinds{$case->{kind}}->($case->{sock}, $message), $message,
	    "$case->{name}: all come back";
}

# The clients that wait for the pause all wait at the same time, each with a
# server of its own, because --blocking serves one client at a time.
my %waiting;
for my $engine (engines()) {
	for my $kind (sort keys %kinds) {
		push @{ $waiting{$engine}{$kind} },
		    map { begin(start_server($engine, '--message', '--gap=2s'),
		    $kind, $_) } grep { reads_to_end($kind, $_) } @messages;
	}
}

for my $engine (engines()) {
	subtest "$engine --message" => sub {
		my $server = start_server($engine, '--message', '--gap=2s');
		for my $kind (sort keys %kinds) {
			subtest "the client $kind" => sub {
				comes_back(begin($server, $kind, $_)) for
				    grep { !reads_to_end($kind, $_) } @messages;
				for (@{ $waiting{$engine}{$kind} }) {
					comes_back($_);
					$_->{server}->stop;
				}
			};
		}
		is join(' ', exchange(dial($server), '', undef,
		    half_close => 1)), ' eof', 'an empty message comes back';
		$server->stop;
	};
	subtest "$engine --stream" => sub {
		my $server = start_server($engine, '--stream');
		for my $kind (sort keys %kinds) {
			my @fit = grep { !reads_to_end($kind, $_) } @messages;
			next unless @fit;
			subtest "the client $kind" => sub {
				comes_back(begin($server, $kind, $_)) for @fit;
			};
		}
		is join(' ', exchange(dial($server), '', undef,
		    half_close => 1)), ' eof', 'an empty message comes back';
		$server->stop;
	};
}

# Without options, the server behaves like the server of the homework:
# --blocking --message.
my $server = start_server();
is scalar exchange(dial($server), 'x' x 32, undef), 'x' x 32,
    'by default the server ends a message of 32 bytes after a pause';
$server->stop;

done_testing;
