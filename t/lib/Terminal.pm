package Terminal;

# Pseudo-terminals (pts(4)), with modules of Perl's core only.

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(O_NOCTTY O_RDWR);

our @EXPORT = qw(open_terminal);

# ioctl(2) numbers of Linux, the same on x86 and ARM.
use constant { TIOCSPTLCK => 0x40045431, TIOCGPTN => 0x80045430 };

# The master, and the path of the slave; an empty list without pseudo-terminals.
sub open_terminal {
	sysopen my $master, '/dev/ptmx', O_RDWR | O_NOCTTY or return;
	my ($unlock, $number) = (pack('i', 0), pack('i', 0));
	ioctl $master, TIOCSPTLCK, $unlock or return;
	ioctl $master, TIOCGPTN, $number or return;
	my $slave = '/dev/pts/' . unpack 'i', $number;
	return -w $slave ? ($master, $slave) : ();
}

1;
