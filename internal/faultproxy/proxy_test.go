package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lobby is a listener in memory.
type lobby struct {
	coming chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newLobby() *lobby { return &lobby{coming: make(chan net.Conn), closed: make(chan struct{})} }

func (l *lobby) Accept() (net.Conn, error) {
	select {
	case c := <-l.coming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *lobby) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *lobby) Addr() net.Addr { return &net.TCPAddr{} }

// link is a proxy whose ends are in memory.
type link struct {
	*Proxy
	lobby *lobby
	ends  chan net.Conn // at the target, one for each connection
}

func open(t *testing.T) *link {
	t.Helper()
	l := &link{lobby: newLobby(), ends: make(chan net.Conn, 10)}
	var err error
	l.Proxy, err = Start(Options{Listener: l.lobby, Seed: 7, Dial: func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		l.ends <- far
		return near, nil
	}})
	require.NoError(t, err)
	return l
}

// connect makes a connection through the link.
func (l *link) connect() net.Conn {
	near, far := net.Pipe()
	l.lobby.coming <- far
	return near
}

// read reads exactly so many bytes.
func read(t *testing.T, from net.Conn, count int) []byte {
	t.Helper()
	data := make([]byte, count)
	_, err := io.ReadFull(from, data)
	require.NoError(t, err)
	return data
}

func write(t *testing.T, to net.Conn, data []byte) {
	t.Helper()
	_, err := to.Write(data)
	require.NoError(t, err)
}

// inBubble runs a test of one connection in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, l *link, near, far net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := open(t)
		near := l.connect()
		far := <-l.ends
		test(t, l, near, far)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
	})
}

func TestCarriesBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		write(t, near, []byte("there"))
		require.Equal(t, "there", string(read(t, far, 5)))
		write(t, far, []byte("back"))
		require.Equal(t, "back", string(read(t, near, 4)))
		synctest.Wait()
		require.Equal(t, Counts{Connections: 1, Forward: 5, Backward: 4}, l.Counts())
		require.NoError(t, near.Close())
		_, err := far.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestDelayAndJitter(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Forward: Condition{Delay: time.Second, Jitter: time.Second}})
		began := time.Now()
		for i := range 20 {
			write(t, near, []byte{byte(i)}) // taken at once
		}
		require.Equal(t, began, time.Now())
		for i := range 20 {
			require.Equal(t, []byte{byte(i)}, read(t, far, 1), "what was sent first arrives first")
			require.GreaterOrEqual(t, time.Since(began), time.Second)
			require.Less(t, time.Since(began), 2*time.Second)
		}
		write(t, far, []byte("x"))
		began = time.Now()
		read(t, near, 1)
		require.Equal(t, began, time.Now(), "the other way is not delayed")
		synctest.Wait()
		require.GreaterOrEqual(t, l.Counts().Delayed, uint64(1))
		require.LessOrEqual(t, l.Counts().Delayed, uint64(20))
	})
}

func TestRate(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Forward: Condition{BytesPerSecond: pieceBytes}})
		began := time.Now()
		go func() { _, _ = near.Write(make([]byte, 10*pieceBytes+1)) }()
		read(t, far, 10*pieceBytes+1)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

func TestHoldLosesNothingAndIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Forward: Condition{Hold: true}})
		sent := make([]byte, 4*piecesMax*pieceBytes)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		var taken int
		go func() {
			for part := sent; len(part) > 0; part = part[pieceBytes:] {
				if _, err := near.Write(part[:pieceBytes]); err != nil {
					return
				}
				taken += pieceBytes
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, taken, (piecesMax+2)*pieceBytes, "who sends is held up")
		require.GreaterOrEqual(t, taken, piecesMax*pieceBytes)
		require.EqualValues(t, 1, l.Counts().Held)
		write(t, far, []byte("x"))
		read(t, near, 1)
		l.Set(Conditions{})
		require.True(t, bytes.Equal(sent, read(t, far, len(sent))))
		synctest.Wait()
		require.Equal(t, []uint64{1, 0, 0}, []uint64{l.Counts().Held, l.Counts().Delayed, l.Counts().Swallowed})
	})
}

func TestSwallowIsOneWayAndEndsInAReset(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Forward: Condition{Swallow: true}})
		write(t, near, []byte("lost"))
		write(t, far, []byte("heard"))
		require.Equal(t, "heard", string(read(t, near, 5)))
		synctest.Wait()
		require.EqualValues(t, 4, l.Counts().Swallowed)
		l.Set(Conditions{})
		_, err := far.Read(make([]byte, 1))
		require.Error(t, err, "a gap is never passed over")
		require.EqualValues(t, 1, l.Counts().Damaged)

		next := l.connect()
		write(t, next, []byte("fresh"))
		require.Equal(t, "fresh", string(read(t, <-l.ends, 5)))
	})
}

func TestSwallowThatHitNothingLeavesTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Forward: Condition{Swallow: true}})
		l.Set(Conditions{})
		write(t, near, []byte("x"))
		read(t, far, 1)
	})
}

// altered sends zeros through a corrupting link and returns what arrives.
func altered(t *testing.T, size int) (arrived []byte) {
	t.Helper()
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Forward: Condition{CorruptEvery: 100}})
		go func() { _, _ = near.Write(make([]byte, size)) }()
		arrived = read(t, far, size)
		wrong := 0
		for _, b := range arrived {
			if b != 0 {
				wrong++
			}
		}
		require.EqualValues(t, wrong, l.Counts().Altered)
		require.InDelta(t, size/100, wrong, float64(size/300))
		l.Set(Conditions{})
		_, err := far.Read(make([]byte, 1))
		require.Error(t, err)
	})
	return arrived
}

func TestAlteredBytesAreDrawnFromTheSeed(t *testing.T) {
	require.True(t, bytes.Equal(altered(t, 100_000), altered(t, 100_000)))
}

func TestCut(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link, near, far net.Conn) {
		l.Set(Conditions{Cut: true})
		for _, end := range []net.Conn{near, far, l.connect()} {
			_, err := end.Read(make([]byte, 1))
			require.Error(t, err)
		}
		synctest.Wait()
		require.EqualValues(t, 2, l.Counts().Cut)
		require.Empty(t, l.ends, "the target saw nothing of the new one")
		l.Set(Conditions{})
		next := l.connect()
		write(t, next, []byte("x"))
		read(t, <-l.ends, 1)
	})
}

func TestTargetThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lobby := newLobby()
		p, err := Start(Options{Listener: lobby, Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("nobody") }})
		require.NoError(t, err)
		near, far := net.Pipe()
		lobby.coming <- far
		_, err = near.Read(make([]byte, 1))
		require.Error(t, err)
		require.NoError(t, p.Close())
		require.Equal(t, Counts{Connections: 1, Failed: 1}, p.Counts())
	})
}

// TestHalfClose is on real TCP: a pipe has no half.
func TestHalfClose(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, err := Start(Options{Listener: listener, Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", target.Addr().String())
	}})
	require.NoError(t, err)
	near, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	far, err := target.Accept()
	require.NoError(t, err)
	write(t, near, []byte("x"))
	read(t, far, 1)

	p.HalfClose()
	p.HalfClose()
	_, err = far.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	write(t, far, []byte("still"))
	require.Equal(t, "still", string(read(t, near, 5)))
	require.EqualValues(t, 1, p.Counts().HalfClosed)

	p.Set(Conditions{Cut: true})
	_, err = near.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF, "it is broken, not ended")
	require.NoError(t, p.Close())
	require.NoError(t, errors.Join(near.Close(), far.Close(), target.Close()))
}

func TestDraws(t *testing.T) {
	slow, corrupting := map[Conditions]bool{}, map[Conditions]bool{}
	for seed := range uint64(50) {
		s, c := Slow(rand.New(rand.NewPCG(seed, 0))), Corrupting(rand.New(rand.NewPCG(seed, 0)))
		require.Equal(t, s, Slow(rand.New(rand.NewPCG(seed, 0))))
		require.Positive(t, s.Forward.Delay)
		require.Positive(t, s.Forward.BytesPerSecond)
		require.False(t, s.Forward.damages() || s.Backward.damages() || s.Cut)
		require.Positive(t, min(c.Forward.CorruptEvery, c.Backward.CorruptEvery))
		slow[s], corrupting[c] = true, true
	}
	require.Len(t, slow, 50)
	require.Len(t, corrupting, 50)
}

func TestOptions(t *testing.T) {
	_, err := Start(Options{})
	require.ErrorIs(t, err, ErrOptions)
}
