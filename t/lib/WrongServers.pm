package WrongServers;

# Echo servers that are not ours: right ones that do it another way, and wrong
# ones with one fault each. For the tests of whatever has to judge a server.
#
#	my $server = start_wrong('flip', 17);	# ->address, ->log
#
# The same file is the server, when it is run: WrongServers.pm NAME [ARG]...

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Socket qw(:all);

our @EXPORT = qw(full_backlog right_servers start_wrong subtle_servers
    wrong_servers);

my $file = abs_path(__FILE__);

# Each takes an accepted connection, then the arguments of start_wrong; the
# connection is closed when it returns.
my %right = (
	'plain' => answering(sub { $_[0] }),

	# The homework's: after 16, 32, ... bytes it waits for more.
	'homework' => sub {
		my ($c) = @_;
		my $bytes;
		do {
			$bytes = take($c, 16);
			give($c, $bytes);
		} while (length $bytes == 16);
	},

	# It never closes, not even when the client has finished.
	'stays-open' => sub {
		my ($c) = @_;
		answering(sub { $_[0] })->($c);
		stay();
	},

	# Half-closed before it has answered, it forgets the answer, as select
	# servers do that close at the first end of file.
	'forgets-at-eof' => answering(sub {
		my ($bytes, undef, $c) = @_;
		return $bytes unless ready($c, 0, 0.05);
		recv $c, my $next, 1, MSG_PEEK;
		return defined $next && $next eq '' ? '' : $bytes;
	}),

	# With a pause of so many seconds before each byte.
	'byte-by-byte' => answering(sub {
		my ($bytes, undef, $c, $pause) = @_;
		for (split //, $bytes) {
			stay($pause) if $pause;
			give($c, $_);
		}
		return '';
	}),

	# It answers after so many seconds, and then without delay.
	'starts-slowly' => sub {
		my ($c, $seconds) = (@_, 1);
		stay($seconds);
		answering(sub { $_[0] })->($c);
	}
);

my %wrong = (
	# What comes back is not what was sent. "A" (0x41) becomes "B".
	'flip' => answering(sub {
		my ($bytes, $from, undef, $at) = (@_, 17);
		my $i = $at - 1 - $from;
		substr($bytes, $i, 1) ^= "\x03" if $i >= 0 && $i < length $bytes;
		return $bytes;
	}),
	'upper' => answering(sub { uc $_[0] }),
	'crlf' => answering(sub { $_[0] =~ s/\n/\r\n/gr }),
	'swap' => answering(sub { $_[0] =~ s/^(.)(.)/$2$1/sr }),

	# Too much.
	'twice' => answering(sub { $_[0] x 2 }),
	'banner' => sub {
		my ($c) = @_;
		give($c, "220 ready\r\n");
		answering(sub { $_[0] })->($c);
	},
	'extra' => answering(sub { "$_[0]!" }),
	'extra-later' => sub {
		my ($c) = @_;
		my $bytes = take($c);
		give($c, $bytes);
		stay(0.05);
		give($c, '!');
		drain($c);
	},
	'extra-at-eof' => sub {
		my ($c) = @_;
		answering(sub { $_[0] })->($c);
		give($c, '!');
	},

	# Too little, and then silence. Of more than one segment the halves of
	# what each read took, which is not half of it all, but less than all.
	'mute' => sub { drain($_[0]); stay() },
	'never-reads' => sub { stay() },
	'answers-at-eof' => sub {
		my ($c) = @_;
		my ($all, $bytes) = ('');
		$all .= $bytes while ($bytes = take($c)) ne '';
		give($c, $all);
	},
	'half' => answering(sub { substr $_[0], 0, length($_[0]) / 2 }),
	'c-string' => answering(sub { $_[0] =~ s/\0.*//sr }),
	'strip' => answering(sub { $_[0] =~ s/\s+\z//r }),

	# Too little, and then the end: by FIN, after so many bytes, ...
	'closes' => sub {
		my ($c, $most) = (@_, 12);
		some($c, $most);
	},
	'half-closes' => sub {
		my ($c, $most) = (@_, 12);
		some($c, $most);
		shutdown $c, SHUT_WR;
		drain($c);
	},
	'closes-at-once' => sub { },
	# ... or by RST.
	'resets' => sub {
		my ($c, $most) = (@_, 12);
		some($c, $most);
		setsockopt $c, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	},
	'resets-at-once' => sub {
		setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	}
);

# Wrong in ways that one short message need not show.
my %subtle = (
	'resets-at-eof' => sub {
		my ($c) = @_;
		answering(sub { $_[0] })->($c);
		setsockopt $c, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	},

	# One recv per connection, and a close with input unread.
	'one-recv' => sub {
		my ($c, $most) = (@_, 100);
		give($c, take($c, $most));
	},

	# Bytes that it has no use for.
	'ascii' => answering(sub { $_[0] =~ tr/\x80-\xff//dr }),
	'nul' => answering(sub { $_[0] =~ tr/\0//dr }),
	'utf8' => answering(sub {
		utf8::decode(my $text = $_[0]) and return $_[0];
		return $_[0] =~ s/[\x80-\xff]/\xef\xbf\xbd/gr;
	}),

	# Lines, and the last one when the client has finished.
	'lines' => sub {
		my ($c) = @_;
		my ($line, $bytes) = ('');
		while (($bytes = take($c)) ne '') {
			$line .= $bytes;
			next unless $bytes =~ /\n/;
			give($c, $1) if $line =~ s/\A(.*\n)//s;
		}
		give($c, $line);
	},

	# In blocks; what is left of one comes as it is, after a moment.
	'loses' => answering(sub {
		my ($bytes, $from, undef, $at, $n) = (@_, 4096, 16);
		my $i = $at - $from;
		substr $bytes, $i, $n, '' if $i >= 0 && $i < length $bytes;
		return $bytes;
	}),
	'doubles' => in_blocks(sub { $_[1] == 1 ? $_[0] x 2 : $_[0] }),
	'reverses' => in_blocks(sub { scalar reverse $_[0] }),
	'swaps' => in_blocks(sub {
		my $half = length($_[0]) / 2;
		return substr($_[0], $half) . substr $_[0], 0, $half;
	}),

	# It does not answer any more once nothing has come for a while.
	'stops-at-pause' => sub {
		my ($c) = @_;
		my $bytes;
		while (($bytes = take($c)) ne '') {
			give($c, $bytes);
			last unless ready($c, 0, 0.35);
		}
		drain($c);
	},

	'one-at-a-time' => answering(sub { $_[0] }),
	'one-client-only' => sub {
		answering(sub { $_[0] })->($_[0]);
		POSIX::_exit(0);
	}
);

# One process for all clients, as an event loop: told a client and what it has
# sent, these answer.
my %loops = (
	# In a blocking way: who does not read keeps everybody waiting.
	'blocking-write' => sub {
		my ($c, $bytes) = @_;
		$c->blocking(1);
		give($c, $bytes);
		$c->blocking(0);
	},
	# With one write, whatever became of it.
	'short-write' => sub {
		my ($c, $bytes) = @_;
		syswrite $c, $bytes;
	}
);

my %servers = (%right, %wrong, %subtle, %loops);

# These serve one client after the other; the rest serve all at once.
my %serial = map { $_ => 1 } qw(homework one-at-a-time one-client-only);

sub right_servers { sort keys %right }
sub wrong_servers { sort keys %wrong }
sub subtle_servers { sort keys %subtle, keys %loops }

# A running one, which ends with the test; ->address says where.
sub start_wrong {
	my ($name, @args) = @_;
	require EchoTest;
	return EchoTest::start_command({ name => "server that @_" },
	    $^X, $file, $name, @args);
}

# A listener whose backlog is full, so that the kernel drops every SYN:
# ->{address}; undef where that cannot be had.
sub full_backlog {
	my $listener = listener(1);
	listen $listener, 0 or die "listen: $!";
	my $self = { listener => $listener, address => address($listener) };
	for (1 .. 16) {
		socket my $c, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
		IO::Handle::blocking($c, 0);
		connect $c, getsockname $listener;
		push @{ $self->{clients} }, $c;
		my $w = '';
		vec($w, fileno $c, 1) = 1;
		return $self unless select undef, $w, undef, 0.1;
	}
	return undef;
}

# Below is the server's side. A process for each connection; it ends with its
# parent, which alone holds the other end of this pipe.
my $life;

# A server that answers each piece it has read by what the sub makes of it,
# told the piece, how many bytes came before it, the connection, arguments.
sub answering {
	my ($answer) = @_;
	return sub {
		my ($c, @args) = @_;
		my $from = 0;
		while ((my $bytes = take($c)) ne '') {
			give($c, $answer->($bytes, $from, $c, @args));
			$from += length $bytes;
		}
	};
}

# One that answers whole blocks of $size bytes by what the sub makes of them,
# told the block and its number, and what comes in less as it is.
sub in_blocks {
	my ($answer) = @_;
	return sub {
		my ($c, $size) = (@_, 65536);
		my ($n, $bytes) = (0);
		while (($bytes = take($c, $size)) ne '') {
			while (length $bytes < $size &&
			    length $bytes > $size / 4 && ready($c, 0, 0.1)) {
				my $more = take($c, $size - length $bytes);
				last if $more eq '';
				$bytes .= $more;
			}
			$bytes = $answer->($bytes, ++$n)
			    if length $bytes == $size;
			give($c, $bytes);
		}
	};
}

# Echoes so many bytes and no more.
sub some {
	my ($c, $most) = @_;
	while ($most > 0 && (my $bytes = take($c)) ne '') {
		give($c, substr $bytes, 0, $most);
		$most -= length $bytes;
	}
}

# Waits until the connection can be read or, if $write, written; false after
# so many seconds.
sub ready {
	my ($c, $write, $seconds) = @_;
	my ($r, $w) = ('', '');
	vec($r, fileno $life, 1) = 1;
	vec($write ? $w : $r, fileno $c, 1) = 1 if $c;
	select $r, $w, undef, $seconds;
	POSIX::_exit(0) if vec $r, fileno $life, 1;
	return $c && vec $write ? $w : $r, fileno $c, 1;
}

# Does nothing for so many seconds; for ever if none are told.
sub stay { ready(undef, 0, $_[0]) }

# What has come; '' at the end of file and after a reset.
sub take {
	my ($c, $most) = (@_, 65536);
	ready($c, 0);
	sysread $c, my $bytes, $most or return '';
	return $bytes;
}

sub drain {
	my ($c) = @_;
	1 while take($c) ne '';
}

sub give {
	my ($c, $bytes) = @_;
	while ($bytes ne '') {
		ready($c, 1);
		my $n = syswrite $c, $bytes;
		return unless defined $n || $!{EAGAIN};
		substr $bytes, 0, $n // 0, '';
	}
}

sub listener {
	my ($backlog) = @_;
	return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
	    Listen => $backlog) // die "cannot listen: $@\n";
}

sub address { $_[0]->sockhost . ':' . $_[0]->sockport }

# Serves all clients of the listener in one loop.
sub loop {
	my ($listener, $answer) = @_;
	my $all = IO::Select->new($life, $listener);
	while (1) {
		for my $c ($all->can_read) {
			POSIX::_exit(0) if $c == $life;
			if ($c == $listener) {
				my $new = $listener->accept or next;
				$new->blocking(0);
				$all->add($new);
				next;
			}
			my $n = sysread $c, my $bytes, 65536;
			if ($n) {
				$answer->($c, $bytes);
			} elsif (defined $n || !$!{EAGAIN}) {
				$all->remove($c);
				close $c;
			}
		}
	}
}

sub run {
	my ($name, @args) = @_;
	my $serve = $servers{$name // ''} // die
	    "usage: $0 NAME [ARG]..., with NAME one of\n",
	    map { "  $_\n" } right_servers(), wrong_servers(),
	    subtle_servers();
	$SIG{$_} = 'IGNORE' for qw(CHLD PIPE);
	pipe $life, my $alive or die "pipe: $!";
	my $listener = listener(SOMAXCONN);
	$| = 1;
	print 'listening on ', address($listener), "\n";
	loop($listener, $loops{$name}) if $loops{$name};
	while (1) {
		my $c = $listener->accept or next;
		my $pid = $serial{$name} ? undef : fork // die "fork: $!";
		next if $pid;
		close $alive if defined $pid;
		$c->blocking(0);
		setsockopt $c, IPPROTO_TCP, TCP_NODELAY, 1;
		$serve->($c, @args);
		close $c;
		POSIX::_exit(0) if defined $pid;
	}
}

run(@ARGV) unless caller;

1;
