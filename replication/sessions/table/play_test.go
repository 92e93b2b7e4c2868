package table

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/viewline/viewline/internal/omit"
)

// seen counts what a play came across. A kind that was never seen proves nothing.
type seen map[string]int

// kinds are what every play has to come across.
func kinds() []string {
	return []string{
		"executed", "repeated", "reply dropped", "session dropped", "below", "above", "malformed", "registered", "evicted",
		"restored", "snapshots",
	}
}

// player draws the operations of clients that make every kind of mistake, and has them judged by two tables that
// cut the log differently and by the model.
type player struct {
	random   *rand.Rand
	options  Options
	tables   [2]*Table
	machines [2]*counter
	model    model
	sum      uint64 // the model's counter
	op       uint64
	clients  []*playedClient
	old      [][]byte // operations that were in the log, to be copied
	frozen   []frozenAt
	seen     seen
}

// playedClient is one session as its client sees it. It asks and acknowledges at random.
type playedClient struct{ session, nonce, low, next uint64 }

type frozenAt struct {
	frozen *Frozen
	bytes  []byte
}

// counter adds one for each operation, and remembers what it executed and where.
type counter struct {
	sum    uint64
	times  map[string]int
	failed error
	last   uint64
	calls  int
}

// countedReply is as long as the operation's last byte says, so that replies differ in length.
func countedReply(sum, op uint64, operation []byte) []byte {
	reply := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, sum), op)
	return append(reply, make([]byte, operation[len(operation)-1])...)
}

func (c *counter) apply(first uint64, operations [][]byte) [][]byte {
	c.calls++
	replies := make([][]byte, len(operations))
	for i, operation := range operations {
		op := first + uint64(i)
		if op <= c.last {
			c.failed = fmt.Errorf("operation %d after %d", op, c.last)
		}
		c.last = op
		c.sum++
		// The operation's first 16 bytes are its session and number: they are executed once, ever.
		if c.times[string(operation[:16])]++; c.times[string(operation[:16])] > 1 {
			c.failed = fmt.Errorf("request %x was executed again at %d", operation[:16], op)
		}
		replies[i] = countedReply(c.sum, op, operation)
	}
	return replies
}

func newPlayer(seed uint64, omitted omit.Set) *player {
	random := rand.New(rand.NewPCG(seed, 1))
	options := Options{
		SessionsMax: 1 + random.IntN(6), WindowMax: 1 + random.IntN(9), SessionReplyBytesMax: 60 + random.IntN(200),
	}
	options.ReplyBytesMax = options.SessionReplyBytesMax + random.IntN(400)
	p := &player{random: random, options: options, model: model{options: options}, seen: seen{}}
	p.options.Omit = omitted
	for i := range p.tables {
		p.tables[i], p.machines[i] = New(p.options), &counter{times: map[string]int{}}
	}
	return p
}

// play runs so many batches; the error says what went wrong first.
func (p *player) play(batches int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	for range batches {
		if err := p.batch(); err != nil {
			return err
		}
		if p.random.IntN(6) == 0 {
			if err := p.checkpoint(); err != nil {
				return err
			}
		}
	}
	for _, at := range p.frozen {
		if got := frozenBytes(at.frozen); !bytes.Equal(at.bytes, got) {
			return fmt.Errorf("a snapshot changed after it was taken")
		}
		p.seen["snapshots"]++
	}
	return p.bounds()
}

func (p *player) batch() error {
	operations := make([][]byte, 1+p.random.IntN(12))
	first := p.op + 1 + uint64(p.random.IntN(2)) // a log may have entries that are not for the machine
	for i := range operations {
		operations[i] = p.draw()
	}
	p.op = first + uint64(len(operations)) - 1
	want := make([][]byte, len(operations))
	for i, operation := range operations {
		want[i] = p.model.apply(first+uint64(i), operation, func(op uint64, operation []byte) []byte {
			p.sum++
			return countedReply(p.sum, op, operation)
		})
	}
	for which, t := range p.tables {
		var got [][]byte
		for from := 0; from < len(operations); {
			to := len(operations)
			if which == 1 {
				to = from + 1 + p.random.IntN(len(operations)-from)
			}
			results, err := t.Apply(first+uint64(from), operations[from:to], p.machines[which].apply)
			if err != nil {
				return err
			}
			got, from = append(got, results...), to
		}
		if p.machines[which].failed != nil {
			return p.machines[which].failed
		}
		for i := range want {
			if !bytes.Equal(want[i], got[i]) {
				return fmt.Errorf("operation %d of table %d: %x, not %x", first+uint64(i), which, got[i], want[i])
			}
		}
	}
	p.old = append(p.old, operations...)
	p.learn(first, operations, want)
	if one, other := frozenBytes(p.tables[0].Freeze()), frozenBytes(p.tables[1].Freeze()); !bytes.Equal(one, other) {
		return fmt.Errorf("at operation %d the tables differ", p.op)
	}
	return p.bounds()
}

// draw makes one operation.
func (p *player) draw() []byte {
	switch n := p.random.IntN(100); {
	case n < 1 || len(p.clients) == 0:
		return Register(p.random.Uint64())
	case n < 3:
		junk := make([]byte, p.random.IntN(50))
		for i := range junk {
			junk[i] = byte(p.random.IntN(4))
		}
		return junk
	case n < 15 && len(p.old) > 0: // a copy, of any age
		return p.old[max(0, len(p.old)-1-p.random.IntN(40))]
	}
	c := p.clients[len(p.clients)-1-p.random.IntN(min(len(p.clients), p.options.SessionsMax+1))]
	r := Request{Session: c.session, Nonce: c.nonce, Number: c.low + uint64(p.random.IntN(p.options.WindowMax+2))}
	switch p.random.IntN(20) {
	case 0, 1, 2, 3, 4, 5: // answers came: the window moves
		c.low += uint64(p.random.IntN(p.options.WindowMax + 3))
	case 6, 7, 8, 9, 10, 11:
		c.next = max(c.next, c.low)
		r.Number = c.next
		c.next++
	case 12:
		r.Nonce++
	}
	r.Acknowledged = min(c.low, r.Number)
	if p.random.IntN(4) == 0 {
		r.Acknowledged = uint64(p.random.IntN(int(r.Acknowledged) + 1))
	}
	r.Operation = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, r.Session), r.Number)
	r.Operation = append(r.Operation, byte(p.random.IntN(90)))
	return r.Encode()
}

func (p *player) learn(first uint64, operations, results [][]byte) {
	for i, data := range results {
		result, _ := ReadResult(data)
		switch result.Status {
		case StatusRegistered:
			_, r := read(operations[i])
			p.clients = append(p.clients, &playedClient{session: result.Session, nonce: r.Nonce, low: 1, next: 1})
			p.seen["registered"]++
		case StatusExecuted:
			if result.Op == first+uint64(i) {
				p.seen["executed"]++
			} else {
				p.seen["repeated"]++
			}
		case StatusReplyDropped:
			p.seen["reply dropped"]++
		case StatusSessionDropped:
			p.seen["session dropped"]++
		case StatusBelowWindow:
			p.seen["below"]++
		case StatusAboveWindow:
			p.seen["above"]++
		case StatusMalformed:
			p.seen["malformed"]++
		}
	}
}

// checkpoint takes a snapshot to be looked at later, and puts a restored table into the place of one.
func (p *player) checkpoint() error {
	which := p.random.IntN(2)
	frozen := p.tables[which].Freeze()
	data := frozenBytes(frozen)
	p.frozen = append(p.frozen, frozenAt{frozen: frozen, bytes: data})
	if len(p.frozen) > 8 {
		p.frozen = p.frozen[1:]
	}
	if p.random.IntN(2) == 0 {
		return nil
	}
	restored, err := Restore(p.options, bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return err
	}
	if !bytes.Equal(data, frozenBytes(restored.Freeze())) {
		return fmt.Errorf("a restored table differs")
	}
	p.seen["evicted"] += int(p.tables[which].Counts().SessionsDropped)
	p.tables[which] = restored
	p.seen["restored"]++
	return nil
}

// bounds holds the tables to their options, counting everything anew.
func (p *player) bounds() error {
	for _, t := range p.tables {
		sum := 0
		for s := t.used.oldest; s != nil; s = s.links[byUse].newer {
			own := 0
			for i := range s.slots {
				own += len(s.slots[i].reply)
			}
			if own != s.bytes || own > t.options.SessionReplyBytesMax || s.base != s.low || len(s.slots) > 2*t.options.WindowMax {
				return fmt.Errorf("session %d: %d bytes of %d, window from %d (%d)", s.id, own, s.bytes, s.base, s.low)
			}
			sum += own
		}
		if sum != t.bytes || sum > t.options.ReplyBytesMax || len(t.sessions) > t.options.SessionsMax || len(t.admitted) > 0 {
			return fmt.Errorf("%d bytes of %d in %d sessions", sum, t.bytes, len(t.sessions))
		}
	}
	p.seen["runs"] = p.machines[0].calls
	return nil
}

func frozenBytes(f *Frozen) []byte {
	var data bytes.Buffer
	if n, err := f.WriteTo(&data); err != nil || n != int64(data.Len()) {
		panic(fmt.Sprint(n, err))
	}
	return data.Bytes()
}
