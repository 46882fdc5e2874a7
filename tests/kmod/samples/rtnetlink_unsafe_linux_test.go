package samples

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Numbers of rtnetlink(7) that package syscall lacks.
const (
	rtmNewQdisc, rtmDelQdisc, rtmGetQdisc = 36, 37, 38

	tcaKind, tcaOptions, tcaStats2 = 1, 2, 7
	tcaStatsApp                    = 4
	iflaLinkInfo, iflaNetNSFD      = 18, 28
	infoKind, infoData             = 1, 2
	vethInfoPeer                   = 1
	nested                         = 0x8000
	tcRoot                         = 0xffffffff

	shmrateInstance, shmrateWord, shmrateLimit, shmrateBurst = 1, 2, 3, 4
)

// routes is a netlink socket of the namespace in which it was made.
type routes struct {
	fd  int
	seq atomic.Uint32
	buf [1 << 16]byte
}

func openRoutes() (*routes, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &routes{fd: fd}, nil
}

// attribute appends an attribute: four bytes of length and type, content, filled up to four.
func attribute(b []byte, kind uint16, content []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(content)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, content...)
	return append(b, make([]byte, -len(content)&3)...)
}

func word32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func text(s string) []byte { return append([]byte(s), 0) }

// call sends a request and waits for the answer: an acknowledgement or, to a question, messages of which it
// returns the first.
func (r *routes) call(kind uint16, flags uint16, body []byte) ([]byte, error) {
	seq := r.seq.Add(1)
	m := binary.NativeEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, flags|syscall.NLM_F_REQUEST)
	m = binary.NativeEndian.AppendUint32(m, seq)
	m = binary.NativeEndian.AppendUint32(m, 0)
	if err := syscall.Sendto(r.fd, append(m, body...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	for {
		n, _, err := syscall.Recvfrom(r.fd, r.buf[:], 0)
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(r.buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Header.Seq != seq {
				continue
			}
			if m.Header.Type != syscall.NLMSG_ERROR {
				return m.Data, nil
			}
			if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return nil, syscall.Errno(-errno)
			}
			return nil, nil
		}
	}
}

const change = syscall.NLM_F_ACK

// link is the fixed part of a message about a device.
func link(index int32, flags, mask uint32) []byte {
	m := syscall.IfInfomsg{Family: syscall.AF_UNSPEC, Index: index, Flags: flags, Change: mask}
	return append([]byte(nil), (*[syscall.SizeofIfInfomsg]byte)(unsafe.Pointer(&m))[:]...)
}

// veth makes two devices that are connected, the second one in the namespace behind a descriptor.
func (r *routes) veth(name, peer string, namespace int) error {
	other := attribute(link(0, 0, 0), syscall.IFLA_IFNAME, text(peer))
	other = attribute(other, iflaNetNSFD, word32(uint32(namespace)))
	info := attribute(nil, infoKind, text("veth"))
	info = attribute(info, infoData|nested, attribute(nil, vethInfoPeer|nested, other))
	body := attribute(link(0, 0, 0), syscall.IFLA_IFNAME, text(name))
	_, err := r.call(syscall.RTM_NEWLINK, change|syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, attribute(body, iflaLinkInfo|nested, info))
	return err
}

// up gives a device an address of a network of 256 and switches it on.
func (r *routes) up(index int, address [4]byte) error {
	m := syscall.IfAddrmsg{Family: syscall.AF_INET, Prefixlen: 24, Index: uint32(index)}
	body := append([]byte(nil), (*[syscall.SizeofIfAddrmsg]byte)(unsafe.Pointer(&m))[:]...)
	body = attribute(attribute(body, syscall.IFA_LOCAL, address[:]), syscall.IFA_ADDRESS, address[:])
	if _, err := r.call(syscall.RTM_NEWADDR, change|syscall.NLM_F_CREATE, body); err != nil {
		return fmt.Errorf("address %v: %w", address, err)
	}
	_, err := r.call(syscall.RTM_NEWLINK, change, link(int32(index), syscall.IFF_UP, syscall.IFF_UP))
	return err
}

// discipline is the fixed part of a message about the root discipline of a device, its kind and its options.
func discipline(index int, kind string, options []byte) []byte {
	const handle = 1 << 16 // 1:
	body := make([]byte, 4)
	for _, n := range []uint32{uint32(index), handle, tcRoot, 0} {
		body = binary.NativeEndian.AppendUint32(body, n)
	}
	body = attribute(body, tcaKind, text(kind))
	if options != nil {
		body = attribute(body, tcaOptions|nested, options)
	}
	return body
}

// addQdisc does what "tc qdisc add dev ... root handle 1: KIND ..." does, and changeQdisc and deleteQdisc the same.
func (r *routes) addQdisc(index int, kind string, options []byte) error {
	_, err := r.call(rtmNewQdisc, change|syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, discipline(index, kind, options))
	return err
}

func (r *routes) changeQdisc(index int, kind string, options []byte) error {
	_, err := r.call(rtmNewQdisc, change, discipline(index, kind, options))
	return err
}

func (r *routes) deleteQdisc(index int, kind string) error {
	_, err := r.call(rtmDelQdisc, change, discipline(index, kind, nil))
	return err
}

// qdiscStats returns what the root discipline of a device tells of itself (TCA_STATS_APP).
func (r *routes) qdiscStats(index int, kind string) ([]byte, error) {
	body := make([]byte, 4)
	for _, n := range []uint32{uint32(index), 0, tcRoot, 0} {
		body = binary.NativeEndian.AppendUint32(body, n)
	}
	data, err := r.call(rtmGetQdisc, syscall.NLM_F_ECHO, body) // or the answer goes to those who listen, only
	if err != nil {
		return nil, err
	}
	const fixed = 20
	if got := string(find(data[fixed:], tcaKind)); got != kind+"\x00" {
		return nil, fmt.Errorf("the discipline is %q, want %q", got, kind)
	}
	return find(find(data[fixed:], tcaStats2), tcaStatsApp), nil
}

// find returns the content of an attribute, nil when there is none.
func find(b []byte, kind uint16) []byte {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^nested == kind {
			return b[4:n]
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// shmrate are the options of the discipline.
func shmrate(instance string, word, limit, burst uint32) []byte {
	o := attribute(nil, shmrateInstance, text(instance))
	o = attribute(o, shmrateWord, word32(word))
	o = attribute(o, shmrateLimit, word32(limit))
	return attribute(o, shmrateBurst, word32(burst))
}
