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
use IO::Socket::INET ();
use POSIX ();
use Socket qw(:all);

our @EXPORT = qw(full_backlog right_servers start_wrong wrong_servers);

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

my %servers = (%right, %wrong);

# These serve one client after the other; the rest serve all at once.
my %serial = (homework => 1);

sub right_servers { sort keys %right }
sub wrong_servers { sort keys %wrong }

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

sub run {
	my ($name, @args) = @_;
	my $serve = $servers{$name // ''} // die
	    "usage: $0 NAME [ARG]..., with NAME one of\n",
	    map { "  $_\n" } right_servers(), wrong_servers();
	$SIG{$_} = 'IGNORE' for qw(CHLD PIPE);
	pipe $life, my $alive or die "pipe: $!";
	my $listener = listener(SOMAXCONN);
	$| = 1;
	print 'listening on ', address($listener), "\n";
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
