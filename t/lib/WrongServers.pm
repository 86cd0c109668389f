package WrongServers;

# Echo servers that do not use the program: correct ones that work in another
# way, and wrong ones with one fault each. They test the modes that judge a
# server.
#
#	my $server = start_wrong('flip', 17);	# ->address, ->log
#
# This file is also the program that serves: WrongServers.pm NAME [ARG]...
# Some hundred of these processes are started, and so the modules that take long
# to load are not used.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use POSIX ();
use Socket qw(:all);
use Time::HiRes qw(time);

our @EXPORT = qw(full_backlog right_servers start_wrong subtle_servers
    wrong_servers);

my $file = abs_path(__FILE__);

my ($listener, $parent);	# in a server: its listener, and the pipe below
my $first_port;			# in a server: the port of its first client

my $TCP_INFO = 11;		# the socket option of Linux
my $CLOSE_WAIT = 8;		# tcpi_state after the client's FIN

# Each server is a function. It is called with an accepted connection and the
# arguments of start_wrong, and the connection is closed when it returns.
my %right = (
	'plain' => echo_changed_by(sub { $_[0] }),

	# The server of the homework: after 16, 32, ... bytes it waits for more.
	'homework' => sub {
		my ($c) = @_;
		my $bytes;
		do {
			$bytes = receive($c, 16);
			send_all($c, $bytes);
		} while (length $bytes == 16);
	},

	# Does not close, not even after the client's end of file.
	'stays-open' => sub {
		my ($c) = @_;
		echo($c);
		wait_seconds();
	},

	# Drops the answer if the client has already sent its FIN, as select
	# servers do that close at the first end of file.
	'forgets-at-eof' => echo_changed_by(sub {
		my ($bytes, undef, $c) = @_;
		return $bytes unless wait_ready($c, 0, 0.05);
		recv $c, my $next, 1, MSG_PEEK;
		return defined $next && $next eq '' ? '' : $bytes;
	}),

	# Sends single bytes, with a pause, in seconds, before each byte.
	'byte-by-byte' => echo_changed_by(sub {
		my ($bytes, undef, $c, $pause) = @_;
		for (split //, $bytes) {
			wait_seconds($pause) if $pause;
			send_all($c, $_);
		}
		return '';
	}),

	# Waits some seconds, and then answers without delay.
	'starts-slowly' => sub {
		my ($c, $seconds) = (@_, 1);
		wait_seconds($seconds);
		echo($c);
	}
);

my %wrong = (
	# Other bytes come back than were sent. "A" (0x41) becomes "B".
	'flip' => echo_changed_by(sub {
		my ($bytes, $offset, undef, $number) = (@_, 17);
		my $i = $number - 1 - $offset;
		substr($bytes, $i, 1) ^= "\x03"
		    if $i >= 0 && $i < length $bytes;
		return $bytes;
	}),
	'upper' => echo_changed_by(sub { uc $_[0] }),
	'crlf' => echo_changed_by(sub { $_[0] =~ s/\n/\r\n/gr }),
	'swap' => echo_changed_by(sub { $_[0] =~ s/^(.)(.)/$2$1/sr }),

	# More bytes come back than were sent.
	'twice' => echo_changed_by(sub { $_[0] x 2 }),
	'banner' => sub {
		my ($c) = @_;
		send_all($c, "220 ready\r\n");
		echo($c);
	},
	'extra' => echo_changed_by(sub { "$_[0]!" }),
	'extra-later' => sub {
		my ($c) = @_;
		my $bytes = receive($c);
		send_all($c, $bytes);
		wait_seconds(0.05);
		send_all($c, '!');
		discard_input($c);
	},
	'extra-at-eof' => sub {
		my ($c) = @_;
		echo($c);
		send_all($c, '!');
	},

	# Fewer bytes come back than were sent, and then nothing.
	'mute' => sub { discard_input($_[0]); wait_seconds() },
	'never-reads' => sub { wait_seconds() },
	'answers-at-eof' => sub {
		my ($c) = @_;
		my ($all, $bytes) = ('');
		$all .= $bytes while ($bytes = receive($c)) ne '';
		send_all($c, $all);
	},
	# Half of each read. Of a message that needs several reads, that is less
	# than the message but not exactly half of it.
	'half' => echo_changed_by(sub { substr $_[0], 0, length($_[0]) / 2 }),
	'c-string' => echo_changed_by(sub { $_[0] =~ s/\0.*//sr }),
	'strip' => echo_changed_by(sub { $_[0] =~ s/\s+\z//r }),

	# Fewer bytes come back than were sent, and then FIN, ...
	'closes' => sub {
		my ($c, $limit) = (@_, 12);
		echo_at_most($c, $limit);
	},
	'half-closes' => sub {
		my ($c, $limit) = (@_, 12);
		echo_at_most($c, $limit);
		shutdown $c, SHUT_WR;
		discard_input($c);
	},
	'closes-at-once' => sub { },
	# ... or RST.
	'resets' => sub {
		my ($c, $limit) = (@_, 12);
		echo_at_most($c, $limit);
		reset_at_close($c);
	},
	'resets-at-once' => sub { reset_at_close($_[0]) }
);

# Faults that a single short message may not show.
my %subtle = (
	'resets-at-eof' => sub {
		my ($c) = @_;
		echo($c);
		reset_at_close($c);
	},

	# One recv per connection, and a close with unread input.
	'one-recv' => sub {
		my ($c, $limit) = (@_, 100);
		send_all($c, receive($c, $limit));
	},

	# Some byte values do not come back.
	'ascii' => echo_changed_by(sub { $_[0] =~ tr/\x80-\xff//dr }),
	'nul' => echo_changed_by(sub { $_[0] =~ tr/\0//dr }),
	'utf8' => echo_changed_by(sub {
		Encode::encode('UTF-8', Encode::decode('UTF-8', $_[0]));
	}),

	# Complete lines, each after a pause, and the rest at the client's end of
	# file.
	'lines' => sub {
		my ($c, $seconds) = (@_, 0);
		my ($line, $bytes) = ('');
		while (($bytes = receive($c)) ne '') {
			$line .= $bytes;
			next unless $bytes =~ /\n/;
			wait_seconds($seconds);
			send_all($c, $1) if $line =~ s/\A(.*\n)//s;
		}
		send_all($c, $line);
	},

	# Blocks are lost, repeated or changed.
	'loses' => echo_changed_by(sub {
		my ($bytes, $offset, undef, $at, $n) = (@_, 4096, 16);
		my $i = $at - $offset;
		substr $bytes, $i, $n, '' if $i >= 0 && $i < length $bytes;
		return $bytes;
	}),
	'doubles' => echo_blocks_changed_by(sub {
		$_[1] == 1 ? $_[0] x 2 : $_[0]
	}),
	'reverses' => echo_blocks_changed_by(sub { scalar reverse $_[0] }),
	'swaps' => echo_blocks_changed_by(sub {
		my $half = length($_[0]) / 2;
		return substr($_[0], $half) . substr $_[0], 0, $half;
	}),

	# Stops answering when 0.35 s have passed between an answer and the next
	# input. The server measures this time, and does not use a timeout, so
	# it notices the pause of the client even if this process runs late.
	# After 1000 bytes the time may have another reason: the client does not
	# read.
	'stops-at-pause' => sub {
		my ($c) = @_;
		my ($bytes, $size, $answered) = ('', 0);
		while (($bytes = receive($c)) ne '') {
			last if $answered && $size < 1000 &&
			    time - $answered > 0.35;
			$answered = time;
			$size += length $bytes;
			send_all($c, $bytes);
		}
		discard_input($c);
	},

	# Collects a message of more than 1 MiB until the client's end of file,
	# and answers after some seconds.
	'collects-bulk' => sub {
		my ($c, $seconds) = (@_, 1);
		my ($all, $bytes, $size) = ('', '', 0);
		while (($bytes = receive($c)) ne '') {
			$size += length $bytes;
			$all .= $bytes;
			next if $size > 1 << 20;
			send_all($c, $all);
			$all = '';
		}
		wait_seconds($seconds) if $all ne '';
		send_all($c, $all);
	},

	# Does not answer if the FIN has come in a segment of its own, after the
	# data. Linux counts segments: those without data are SYN, ACK and FIN.
	'needs-fin-with-data' => sub {
		my ($c) = @_;
		my $bytes = receive($c);
		my $info = getsockopt($c, IPPROTO_TCP, $TCP_INFO) // '';
		my ($state, $segments, $with_data) =
		    unpack 'C x139 L x8 L', $info if length $info >= 156;
		return if $state && ($state != $CLOSE_WAIT ||
		    $segments - $with_data > 2);
		send_all($c, $bytes);
		echo($c);
	},

	# Answers the first client, and accepts no other: its backlog is full.
	'stops-accepting' => sub {
		my ($c) = @_;
		my @pending = fill_backlog($listener);
		echo($c);
		close $c;
		wait_seconds();
	},

	'one-at-a-time' => \&echo,
	'one-client-only' => sub {
		echo($_[0]);
		POSIX::_exit(0);
	}
);

# These servers use one process for all clients, with an event loop. They are
# called with a connection and the bytes received from it.
my %loops = (
	# Blocks until everything is sent, so that one client delays all others.
	'blocking-write' => sub {
		my ($c, $bytes) = @_;
		set_blocking($c, 1);
		send_all($c, $bytes);
		set_blocking($c, 0);
	},
	# Answers only the first client, and reads from the others.
	'answers-first' => sub {
		my ($c, $bytes) = @_;
		my ($port) = unpack_sockaddr_in(getpeername $c);
		$first_port //= $port;
		syswrite $c, $bytes if $port == $first_port;
	},
	# Ignores the result of write and loses the rest of a short write.
	'short-write' => sub {
		my ($c, $bytes) = @_;
		syswrite $c, $bytes;
	}
);

my %servers = (%right, %wrong, %subtle, %loops);

# These servers serve one client after another; all other servers serve several
# clients at the same time.
my %serial = map { $_ => 1 } qw(homework one-at-a-time one-client-only
    stops-accepting);

sub right_servers { sort keys %right }
sub wrong_servers { sort keys %wrong }
sub subtle_servers { sort keys %subtle, keys %loops }

# Starts a server, which ends with the test; ->address returns its address.
sub start_wrong {
	my ($name, @args) = @_;
	require EchoTest;
	return EchoTest::start_command({ name => "server that @_" },
	    $^X, $file, $name, @args);
}

# A listener that does not accept and whose backlog is full, so that the kernel
# drops every SYN: { address }. Returns undef if the backlog cannot be filled.
sub full_backlog {
	my $socket = new_listener(1);
	my @pending = fill_backlog($socket);
	my $w = '';
	vec($w, fileno $pending[-1], 1) = 1;
	return undef if select undef, $w, undef, 0.1;	# it is connected
	return { listener => $socket, pending => \@pending,
	    address => address_of($socket) };
}

# Sets the smallest backlog, and starts more connections than fit into it.
# Returns the connections.
sub fill_backlog {
	my ($socket) = @_;
	listen $socket, 0 or die "listen: $!";
	return map {
		socket my $c, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
		set_blocking($c, 0);
		connect $c, getsockname $socket;
		$c;
	} 1 .. 16;
}

# What follows runs in the server. A process that serves clients ends when the
# parent ends: only the parent holds the other end of the pipe $parent.

# A server that answers each piece of input with the result of a function. The
# function is called with the piece, the number of bytes before it, the
# connection, and the arguments of start_wrong.
sub echo_changed_by {
	my ($change) = @_;
	return sub {
		my ($c, @args) = @_;
		my $offset = 0;
		while ((my $bytes = receive($c)) ne '') {
			send_all($c, $change->($bytes, $offset, $c, @args));
			$offset += length $bytes;
		}
	};
}

# A server that answers each whole block of $size bytes with the result of a
# function, which is called with the block and its number. A shorter rest is
# echoed unchanged after a second without input, if it is long, or at once.
sub echo_blocks_changed_by {
	my ($change) = @_;
	return sub {
		my ($c, $size) = (@_, 65536);
		my ($n, $bytes) = (0);
		while (($bytes = receive($c, $size)) ne '') {
			while (length $bytes < $size &&
			    length $bytes > $size / 4 && wait_ready($c, 0, 1)) {
				my $more = receive($c, $size - length $bytes);
				last if $more eq '';
				$bytes .= $more;
			}
			$bytes = $change->($bytes, ++$n)
			    if length $bytes == $size;
			send_all($c, $bytes);
		}
	};
}

sub echo {
	my ($c) = @_;
	while ((my $bytes = receive($c)) ne '') {
		send_all($c, $bytes);
	}
}

# Echoes up to $limit bytes.
sub echo_at_most {
	my ($c, $limit) = @_;
	while ($limit > 0 && (my $bytes = receive($c)) ne '') {
		send_all($c, substr $bytes, 0, $limit);
		$limit -= length $bytes;
	}
}

sub reset_at_close { setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 }

# Waits until the connection can be read or, if $write, written. Returns false
# after some seconds. Exits when the parent has ended.
sub wait_ready {
	my ($c, $write, $seconds) = @_;
	my ($r, $w) = ('', '');
	vec($r, fileno $parent, 1) = 1;
	vec($write ? $w : $r, fileno $c, 1) = 1 if $c;
	select $r, $w, undef, $seconds;
	POSIX::_exit(0) if vec $r, fileno $parent, 1;
	return $c && vec $write ? $w : $r, fileno $c, 1;
}

# Does nothing for some seconds, or until the parent has ended.
sub wait_seconds { wait_ready(undef, 0, $_[0]) }

# Returns the next bytes; '' at end of file and after a reset.
sub receive {
	my ($c, $limit) = (@_, 65536);
	wait_ready($c, 0);
	sysread $c, my $bytes, $limit or return '';
	return $bytes;
}

sub discard_input {
	my ($c) = @_;
	1 while receive($c) ne '';
}

sub send_all {
	my ($c, $bytes) = @_;
	while ($bytes ne '') {
		wait_ready($c, 1);
		my $n = syswrite $c, $bytes;
		return unless defined $n || $!{EAGAIN};
		substr $bytes, 0, $n // 0, '';
	}
}

sub set_blocking {
	my ($c, $blocks) = @_;
	my $flags = fcntl $c, F_GETFL, 0 or die "fcntl: $!";
	fcntl $c, F_SETFL, $blocks ? $flags & ~O_NONBLOCK :
	    $flags | O_NONBLOCK or die "fcntl: $!";
}

sub new_listener {
	my ($backlog) = @_;
	socket my $l, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
	bind $l, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
	listen $l, $backlog or die "listen: $!";
	return $l;
}

sub address_of {
	my ($port, $host) = unpack_sockaddr_in(getsockname $_[0]);
	return inet_ntoa($host) . ":$port";
}

# Serves all clients in one loop.
sub serve_in_loop {
	my ($answer) = @_;
	require IO::Select;
	my $all = IO::Select->new($parent, $listener);
	while (1) {
		for my $c ($all->can_read) {
			POSIX::_exit(0) if $c == $parent;
			if ($c == $listener) {
				accept my $new, $listener or next;
				set_blocking($new, 0);
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

sub serve_client {
	my ($serve, $c, @args) = @_;
	set_blocking($c, 0);
	setsockopt $c, IPPROTO_TCP, TCP_NODELAY, 1;
	$serve->($c, @args);
	close $c;
}

sub serve_one_after_another {
	my ($serve, @args) = @_;
	while (1) {
		accept my $c, $listener or next;
		serve_client($serve, $c, @args);
	}
}

# Serves several clients at the same time. Each process serves one client at a
# time, and only one process waits for a client. When this client has come, an
# idle process waits for the next client, or a new process if none is idle. A new
# process for each client would add a third to the processor time of t/80.
sub serve_side_by_side {
	my ($serve, $alive, @args) = @_;
	# One byte for each idle process.
	pipe my $idle, my $to_idle or die "pipe: $!";
	# One byte for the process that is to wait for the next client.
	pipe my $turn, my $to_turn or die "pipe: $!";
	set_blocking($_, 0) for $idle, $turn;
	my $pid = fork // die "fork: $!";
	sleep 1 while $pid;
	close $alive;
	while (1) {
		wait_ready($listener, 0);
		accept my $c, $listener or next;
		if (sysread $idle, my $byte, 1) {
			syswrite $to_turn, $byte;
		} else {
			$pid = fork // die "fork: $!";
			next if $pid == 0;
		}
		serve_client($serve, $c, @args);
		syswrite $to_idle, '.';
		wait_ready($turn, 0) until sysread $turn, my $byte, 1;
	}
}

sub run_server {
	my ($name, @args) = @_;
	my $serve = $servers{$name // ''} // die
	    "usage: $0 NAME [ARG]..., with NAME one of\n",
	    map { "  $_\n" } right_servers(), wrong_servers(),
	    subtle_servers();
	$SIG{$_} = 'IGNORE' for qw(CHLD PIPE);
	require Encode if $name eq 'utf8';
	pipe $parent, my $alive or die "pipe: $!";
	$listener = new_listener(SOMAXCONN);
	$| = 1;
	print 'listening on ', address_of($listener), "\n";
	serve_in_loop($serve) if $loops{$name};
	serve_one_after_another($serve, @args) if $serial{$name};
	serve_side_by_side($serve, $alive, @args);
}

run_server(@ARGV) unless caller;

1;
