package table

// session is one client's row of the table.
type session struct {
	id, nonce uint64
	// used is the op-number of the last operation that named it. No two sessions have the same.
	used uint64
	// base is the lowest number of the window. low is the same, unless requests of this session are admitted and
	// not settled yet: then it is what base will be when they are.
	base, low uint64
	// slots has the state of number n, from base to base+len(slots)-1, at n modulo its length, a power of two.
	slots []slot
	// frozen: slots are shared with a snapshot and are copied before they are changed.
	frozen bool
	// bytes is the length of the replies that are kept.
	bytes int

	links [2]link
}

// slot is one number of a window.
type slot struct {
	op    uint64 // where it was executed, or is about to be; 0: it was not
	reply []byte // the whole result, as executed makes it; nil: not kept
}

// at returns the slot of a number of the window for reading, nil when nothing was ever put there.
func (s *session) at(number uint64) *slot {
	if number-s.base >= uint64(len(s.slots)) {
		return nil
	}
	return &s.slots[number&uint64(len(s.slots)-1)]
}

// executed says whether a number of the window was executed, or is about to be.
func (s *session) executed(number uint64) bool {
	place := s.at(number)
	return place != nil && place.op != 0
}

// change returns the slot of a number that is at base or above it and less than a window away, for writing.
func (s *session) change(number uint64) *slot {
	if size := max(1, len(s.slots)); number-s.base >= uint64(size) || len(s.slots) == 0 {
		for uint64(size) <= number-s.base {
			size *= 2
		}
		s.resize(size)
	}
	return &s.own()[number&uint64(len(s.slots)-1)]
}

// own returns the slots for writing.
func (s *session) own() []slot {
	if s.frozen {
		s.resize(len(s.slots))
	}
	return s.slots
}

func (s *session) resize(size int) {
	slots := make([]slot, size)
	for offset := range uint64(len(s.slots)) {
		number := s.base + offset
		slots[number&uint64(size-1)] = s.slots[number&uint64(len(s.slots)-1)]
	}
	s.slots, s.frozen = slots, false
}

// oldest returns the number below base+len(slots) whose reply is kept and was executed first. There is one.
func (s *session) oldest() (number uint64) {
	first := uint64(0)
	for offset := range uint64(len(s.slots)) {
		place := s.at(s.base + offset)
		if place.reply != nil && (first == 0 || place.op < first) {
			first, number = place.op, s.base+offset
		}
	}
	return number
}

// The lists that a session is in.
const (
	byUse     = 0 // every session
	byReplies = 1 // those with a reply that is kept
)

type link struct{ older, newer *session }

// list has sessions in the order in which they were last used.
type list struct {
	which          int
	oldest, newest *session
}

func (l *list) push(s *session) {
	s.links[l.which] = link{older: l.newest}
	if l.newest == nil {
		l.oldest = s
	} else {
		l.newest.links[l.which].newer = s
	}
	l.newest = s
}

func (l *list) remove(s *session) {
	at := s.links[l.which]
	if at.older == nil {
		l.oldest = at.newer
	} else {
		at.older.links[l.which].newer = at.newer
	}
	if at.newer == nil {
		l.newest = at.older
	} else {
		at.newer.links[l.which].older = at.older
	}
	s.links[l.which] = link{}
}

func (l *list) moveToNewest(s *session) {
	if l.newest != s {
		l.remove(s)
		l.push(s)
	}
}
