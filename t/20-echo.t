# Every byte comes back: the six kinds of client that the homework has, with
# messages of all the sizes that go wrong somewhere.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(MSG_WAITALL SHUT_WR);
use Test::More;

my %messages = map { $_ => pattern($_) } 1, 13, 15, 16, 17, 32, 52, 4096, 5000,
    100000;
$messages{'768 binary'} = join '', map { chr } (0 .. 255) x 3;
$messages{'UTF-8'} = "Gr\xc3\xbc\xc3\x9fe, \xd0\xbc\xd0\xb8\xd1\x80, " .
    "\xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x91\x8b\n";
my @messages = sort { length $messages{$a} <=> length $messages{$b} }
    keys %messages;

# Each takes a connection and a message and returns what came back.
my %kinds = (
	'stops at a chunk shorter than 16' => sub {
		my ($sock, $message) = @_;
		put($sock, $message) or return "not sent: $!";
		my $back = '';
		my $flags = whole($sock, $message);
		while (1) {
			my $chunk = recv_once($sock, 16, $flags) // return 'late';
			$back .= $chunk;
			return $back if length $chunk < 16;
		}
	},
	'counts bytes' => sub {
		my ($sock, $message) = @_;
		return scalar exchange($sock, $message, length $message);
	},
	'waits for end of file' => sub {
		my ($sock, $message) = @_;
		my ($back, $end) = exchange($sock, $message, undef);
		return $end eq 'eof' ? $back : "$back and then $end";
	},
	'compares' => sub {
		my ($sock, $message) = @_;
		put($sock, $message) or return "not sent: $!";
		my $back = '';
		while ($back ne $message) {
			my $chunk = recv_once($sock, 4096) // return 'late';
			return $back if $chunk eq '';
			$back .= $chunk;
		}
		return $back;
	},
	'one single recv' => sub {
		my ($sock, $message) = @_;
		put($sock, $message) or return "not sent: $!";
		my $flags = whole($sock, $message);
		return recv_once($sock, length($message) + !$flags, $flags);
	},
	'half-closes first' => sub {
		my ($sock, $message) = @_;
		my ($back, $end) = exchange($sock, $message, undef,
		    half_close => 1);
		return $end eq 'eof' ? $back : "$back and then $end";
	}
);

# Beyond a segment (64 KiB here), which ends where it ends, one recv can only
# be whole if it is told to wait for all.
sub whole {
	my ($sock, $message) = @_;
	$sock->blocking(1);
	return length $message > 5000 ? MSG_WAITALL : 0;
}

sub recv_once {
	my ($sock, $size, $flags) = @_;
	IO::Select->new($sock)->can_read($DEADLINE) or return undef;
	defined recv $sock, my $chunk, $size, $flags // 0 or return undef;
	return $chunk;
}

# A stream is over at the client's end of file only: those who wait for the
# server's would wait for ever.
sub fits_stream {
	my ($kind, $message) = @_;
	return 0 if $kind eq 'waits for end of file';
	return $kind ne 'stops at a chunk shorter than 16' ||
	    length($message) % 16 != 0;
}

for my $engine (engines()) {
	for my $mode ('--message', '--stream') {
		my $server = start_server($engine, $mode, '--gap=250ms');
		for my $kind (sort keys %kinds) {
			for my $name (@messages) {
				my $message = $messages{$name};
				next if $mode eq '--stream' &&
				    !fits_stream($kind, $message);
				my $sock = dial($server);
				my $back = $kinds{$kind}->($sock, $message);
				ok $back eq $message, "$engine $mode: $kind: $name" or
				    diag 'sent ', show($message), "\ngot ", show($back);
			}
		}
		my ($back, $end) = exchange(dial($server), '', undef,
		    half_close => 1);
		is "$back$end", 'eof', "$engine $mode: the empty message";
		$server->stop;
	}
}

# Without a word the homework's server is the blocking one, in message mode.
my $server = start_server();
is scalar exchange(dial($server), 'x' x 32, undef), 'x' x 32,
    'the default ends a message of 32 bytes by itself';
$server->stop;

done_testing;
