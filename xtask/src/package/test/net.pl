# What a minimal Debian has no other tool for: HTTP, sockets that nobody accepts from, and the kernel's BPF objects.
use strict;
use warnings;
use IO::Socket::INET;
use Socket qw(SOMAXCONN);

my ($what, $argument) = @ARGV;

sub listener {
    my ($port, $backlog) = @_;
    return IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Listen => $backlog, ReuseAddr => 1) || die "port $port: $@\n";
}

if ($what eq "get") {
    my $stream = IO::Socket::INET->new(PeerAddr => "127.0.0.1:10511", Timeout => 60) || die "no connection: $@\n";
    print $stream "GET $argument HTTP/1.0\r\nHost: localhost\r\n\r\n";
    print while <$stream>;
} elsif ($what eq "listen") {
    my $socket = listener($argument, 1);
    sleep;
} elsif ($what eq "is-taken") {
    my $socket = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$argument", Listen => 1, ReuseAddr => 1);
    exit(defined $socket ? 1 : 0);
} elsif ($what eq "overflow") {
    my $socket = listener($argument, 4);
    my @clients = map { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$argument", Blocking => 0) } 1 .. 12;
    sleep;
} elsif ($what eq "bpf") {
    # bpf(2): BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID
    for my $kind (["programs", 11], ["maps", 12], ["links", 31]) {
        my ($name, $command) = @$kind;
        my ($id, $count) = (0, 0);
        while (1) {
            my $attributes = pack("L3x116", $id, 0, 0);
            last if syscall(321, $command, $attributes, 128) != 0;
            (undef, $id) = unpack("L2", $attributes);
            $count++;
        }
        print "$count $name ";
    }
    print "\n";
} else {
    die "what?\n";
}
