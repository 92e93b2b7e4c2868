package table

// Execute is the machine behind the table: it executes operations first, first+1 ... and returns one result each.
type Execute func(first uint64, operations [][]byte) [][]byte

// admitted is a request that is fresh, on its way to the machine.
type admitted struct {
	session              *session
	op                   uint64
	number, acknowledged uint64
	at                   int // its place in the batch
}

// batch is one call of Apply.
type batch struct {
	first    uint64
	results  [][]byte
	payloads [][]byte // what goes to the machine
	settled  int      // how many of payloads have been there
	execute  Execute
}

// Apply applies operations first, first+1 ... of the log and returns a Result's bytes for each. Fresh requests go to
// the machine, as many in one call as follow each other in the log: it sees op-numbers that only rise, with gaps
// where a Register, a copy or a refused operation lies. The table keeps the results and does not change them.
//
// The error is an ErrInvariant: op-numbers that do not rise, or a machine that answers another number of
// operations than it was given.
func (t *Table) Apply(first uint64, operations [][]byte, execute Execute) ([][]byte, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	if len(operations) == 0 {
		return nil, nil
	}
	last := first + uint64(len(operations)-1)
	if first <= t.applied || last < first {
		return nil, t.fail("operation %d after %d", first, t.applied)
	}
	b := batch{first: first, results: make([][]byte, len(operations)), payloads: make([][]byte, 0, len(operations)), execute: execute}
	for i, operation := range operations {
		if err := t.take(&b, i, operation); err != nil {
			return nil, err
		}
	}
	if err := t.settle(&b); err != nil {
		return nil, err
	}
	t.applied = last
	return b.results, nil
}

// take admits one operation, or answers it when everything before it is settled.
func (t *Table) take(b *batch, i int, operation []byte) error {
	op := b.first + uint64(i)
	what, r := read(operation)
	if what == kindRequest {
		if s := t.find(&r); s != nil && t.fresh(s, &r) {
			return t.admit(b, s, admitted{session: s, op: op, number: r.Number, acknowledged: r.Acknowledged, at: i}, r.Operation)
		}
	}
	if !t.omits(RuleSettledFirst) {
		if err := t.settle(b); err != nil {
			return err
		}
	}
	switch what {
	case kindRegister:
		b.results[i] = t.register(op, r.Nonce)
	case kindRequest:
		b.results[i] = t.answer(op, &r)
	default:
		b.results[i] = plain(StatusMalformed)
		t.counts.RefusedMalformed++
	}
	return nil
}

// fresh says whether a request is to be executed, after all that were admitted before it: its number is in the
// window and no copy was there (4.1, step 2).
func (t *Table) fresh(s *session, r *Request) bool {
	low := max(s.low, r.Acknowledged)
	if t.omits(RuleAcknowledged) {
		low = s.low
	}
	switch {
	case r.Number < low:
		return t.omits(RuleBelowWindow)
	case r.Number-low >= uint64(t.options.WindowMax):
		return t.omits(RuleAboveWindow)
	}
	return !s.executed(r.Number) || t.omits(RuleOnce)
}

// admit notes that a request is about to be executed. Nothing else of the table changes before it is settled, so
// that each step happens at its own op-number however the log is cut into batches.
func (t *Table) admit(b *batch, s *session, a admitted, payload []byte) error {
	if a.number-s.base >= uint64(t.options.WindowMax) || t.omits(RuleInTurn) {
		// The slots have no room for this number before what the request acknowledges is out of them, and that
		// has to wait for the requests before it.
		if !t.omits(RuleInTurn) {
			if err := t.settle(b); err != nil {
				return err
			}
		}
		t.acknowledge(s, a.acknowledged)
	}
	s.low = max(s.low, a.acknowledged)
	if a.number >= s.base {
		s.change(a.number).op = a.op
	}
	b.payloads = append(b.payloads, payload)
	t.admitted = append(t.admitted, a)
	return nil
}

// settle has the admitted requests executed in one call, since they follow each other in the log, and records what
// became of them, each at its op-number.
func (t *Table) settle(b *batch) error {
	length := len(t.admitted)
	if length == 0 {
		return nil
	}
	end := b.settled + length
	replies := b.execute(t.admitted[0].op, b.payloads[b.settled:end:end])
	if len(replies) != length {
		return t.fail("the machine answered %d of %d operations from %d", len(replies), length, t.admitted[0].op)
	}
	for i, reply := range replies {
		b.results[t.admitted[i].at] = t.record(&t.admitted[i], reply)
	}
	b.settled = end
	clear(t.admitted)
	t.admitted = t.admitted[:0]
	return nil
}

// record keeps the reply of a request that was executed (4.1, step 5).
func (t *Table) record(a *admitted, reply []byte) []byte {
	result := executed(a.op, reply)
	t.use(a.session, a.op)
	t.acknowledge(a.session, a.acknowledged)
	if a.number >= a.session.base {
		t.keep(a.session, a.number, result)
	}
	t.counts.Executed++
	return result
}

// answer answers a request that is not to be executed. Nothing is admitted that was not settled.
func (t *Table) answer(op uint64, r *Request) []byte {
	s := t.find(r)
	if s == nil {
		t.counts.RefusedDropped++
		return plain(StatusSessionDropped)
	}
	t.use(s, op)
	t.acknowledge(s, r.Acknowledged)
	if r.Number < s.base {
		t.counts.RefusedBelow++
		return numbered(StatusBelowWindow, s.base, 0)
	}
	place := s.at(r.Number)
	if place == nil || place.op == 0 {
		t.counts.RefusedAbove++
		return numbered(StatusAboveWindow, s.base, 0)
	}
	t.counts.Repeated++
	if place.reply == nil || t.omits(RuleSameReply) {
		return numbered(StatusReplyDropped, place.op, 0)
	}
	return place.reply
}
