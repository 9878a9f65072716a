package ipc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// On the socket a front says first whom it wants to speak to, in one line:
//
//	cctask PROTOCOL OWNER
//
// since a socket's name may have passed to another owner, of another protocol, since
// the front read owner.lock. Then it sends a frame and reads one, again and again; a
// connection has one question at a time. A frame is
//
//	size    uint32, big-endian, of all that follows
//	length  byte, of head
//	head    a verb in a question; answer, refusal or event in an answer
//	body    JSON, or nothing
const (
	greeting = "cctask"
	maxLine  = 256

	headAnswer  = "answer"
	headRefusal = "refusal" // the body is a task.Error
	headEvent   = "event"   // one of many; an empty body is a heartbeat

	// maxQuestion bounds a request: a prompt of 4 MiB in base64 and as much again.
	maxQuestion = 16 << 20
	maxAnswer   = 256 << 20
)

var errTooLarge = errors.New("the frame is too large")

// writeFrame sends a frame with one system call; first goes before it.
func writeFrame(w io.Writer, first, head string, body []byte) error {
	b := make([]byte, 0, len(first)+5+len(head)+min(len(body), 64<<10))
	b = append(b, first...)
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(head)+len(body)))
	b = append(b, byte(len(head)))
	b = append(b, head...)
	if len(body) <= 64<<10 {
		_, err := w.Write(append(b, body...))
		return err
	}
	parts := net.Buffers{b, body} // rather than to copy megabytes
	_, err := parts.WriteTo(w)
	return err
}

func readFrame(r *bufio.Reader, most int) (head string, body []byte, err error) {
	var start [5]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return "", nil, err
	}
	size, length := int(binary.BigEndian.Uint32(start[:])), int(start[4])
	switch {
	case size > most:
		return "", nil, errTooLarge
	case length+1 > size:
		return "", nil, fmt.Errorf("a frame of %d bytes with a head of %d", size, length)
	}
	b := make([]byte, size-1)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", nil, err
	}
	return string(b[:length]), b[length:], nil
}

// greet is the line that opens a connection to the owner of l, in that one's language.
func greet(l Lock) string { return fmt.Sprintf("%s %d %s\n", greeting, l.Protocol, l.identity()) }

func readGreeting(r *bufio.Reader) (protocol int, owner string, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) > maxLine {
		return 0, "", fmt.Errorf("read the greeting: %w", err)
	}
	words := strings.Fields(string(line))
	if len(words) != 3 || words[0] != greeting {
		return 0, "", errors.New("read the greeting: it is none")
	}
	protocol, err = strconv.Atoi(words[1])
	return protocol, words[2], err
}

// past is a deadline that ends what reads or writes at once.
var past = time.Unix(1, 0)
