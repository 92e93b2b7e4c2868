package frame_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/viewline/viewline/internal/frame"
)

// BenchmarkWriter measures a round trip over TCP on the loopback: callers put 128 bytes each and wait until
// the reader at the other end has seen them. frames/op says how well the writer batches.
func BenchmarkWriter(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchmarkWriter(b, callers) })
	}
}

type parcel struct {
	caller  byte
	payload [127]byte
}

func benchmarkWriter(b *testing.B, callers int) {
	near, far := connect(b)
	defer near.Close()
	answered := make([]chan struct{}, callers)
	for i := range answered {
		answered[i] = make(chan struct{}, 1)
	}
	var reader sync.WaitGroup
	reader.Go(func() { receiveParcels(far, answered) })
	frames, buffer := 0, make([]byte, 0, 1<<16)
	w := frame.NewWriter(frame.Options[parcel]{}, func(items []parcel) error {
		frames++
		buffer = buffer[:0]
		for i := range items {
			buffer = append(buffer, items[i].caller)
			buffer = append(buffer, items[i].payload[:]...)
		}
		_, err := near.Write(buffer)
		return err
	})
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for range b.N/callers + 1 {
				w.Put(parcel{caller: byte(caller)})
				<-answered[caller]
			}
		})
	}
	all.Wait()
	b.StopTimer()
	w.Close()
	far.Close()
	reader.Wait()
	b.ReportMetric(float64(frames)/float64(b.N), "frames/op")
}

func receiveParcels(far net.Conn, answered []chan struct{}) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := io.ReadAtLeast(far, buffer, 128)
		if err != nil {
			return
		}
		if rest := n % 128; rest != 0 {
			if _, err := io.ReadFull(far, buffer[n:n+128-rest]); err != nil {
				return
			}
			n += 128 - rest
		}
		for i := 0; i < n; i += 128 {
			answered[buffer[i]] <- struct{}{}
		}
	}
}

func connect(b *testing.B) (near, far net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	if near, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if far, err = listener.Accept(); err != nil {
		b.Fatal(err)
	}
	return near, far
}
