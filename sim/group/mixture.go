package group

import "github.com/viewline/viewline/replication/vr/core"

// membersMax is the largest group that is simulated.
const membersMax = 7

// mixture is what one seed drew: which faults are on, how often they happen, and how small the limits are.
// Rates are in a thousand; zero is off.
type mixture struct {
	members int
	// durability is what the replicas' disks promise.
	durability core.Durability
	// safetyTicks is how long the faults go on.
	safetyTicks int

	network  networkMixture
	disk     diskMixture
	fault    faultMixture
	client   clientMixture
	limits   limits
	handover handoverMixture
	damage   damageMixture
	chunks   chunkMixture
	slow     slowMixture
	behind   behindMixture
	leases   leaseMixture
	stale    staleMixture

	reconfiguration reconfigurationMixture
	wipes           wipeMixture
	witnesses       witnessMixture
}

// networkMixture is what happens to messages and links. Lengths of time are in moments.
type networkMixture struct {
	loss, duplicate  int // of messages
	delayMax         instant
	tail             int // messages that take up to tailMax
	tailMax          instant
	clog             int // clogs that begin, a tick
	partition        int // symmetric partitions that begin, a tick
	oneWay           int // one-way partitions, a tick
	isolatePrimary   int // partitions around whoever believes to be primary, a tick
	clogCapacity     int // messages that wait in a clogged link; more are lost
	partitionTickMax int
	// starved are kinds of messages of which so many are lost, or else late, beside all others.
	starved     [core.KindNewCommitted + 1]bool
	starvedLoss int
	starvedLate int
}

// diskMixture is how the disk behaves, and what a crash leaves of it.
type diskMixture struct {
	slow       int // writes that take up to slowMax
	slowMax    instant
	powerFails bool // a crash loses what was not synced; otherwise only the process dies
	flush      int  // writes in async after which everything is synced in the background
}

// faultMixture is what happens to processes and clocks.
type faultMixture struct {
	crash        int // of a random replica, a tick
	crashAll     int // of all at once, or of several, a tick
	crashPrimary int // of whoever believes to be primary, a tick
	crashAtStep  int // between two steps of a Ready, a Ready
	downTickMax  int
	pause        int // of a random replica, a tick
	pauseTickMax int
	drift        bool // clocks of different rates
	stop         int  // clean ends of a random replica, a tick; in async and memory only
	gather       int  // inputs after which a replica does not act at once, but takes more
	transferLoss int  // of checkpoint transfers
}

// clientMixture is what the client does.
type clientMixture struct {
	everyTickMax int // between two requests
	reads        int // requests that are reads
	misdirected  int // requests to whoever, not to a primary
	batchMax     int // operations in a request
	fillerMax    int // bytes that make an operation larger
}

// limits are the replicas' own: time-outs in ticks, and sizes.
type limits struct {
	config          core.Config
	checkpointEvery core.OpNumber
	inboxMax        int
	inputsMax       int // inputs that a replica takes before it acts on a Ready
}

// groupSizes holds each size as often as it is drawn: three and five most often.
func groupSizes() []int {
	return []int{1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5, 6, 7, 7}
}

// drawMixture draws a seed's mixture. Each fault is on in about half of the seeds, so that faults which hide
// each other are met apart.
func drawMixture(seed uint64) mixture {
	s := newStream(seed, streamMixture)
	sizes := groupSizes()
	m := mixture{
		members:     sizes[s.below(len(sizes))],
		safetyTicks: s.between(120, 420),
		network:     drawNetwork(&s),
		disk:        drawDisk(&s),
		fault:       drawFaults(&s),
		client: clientMixture{
			everyTickMax: s.between(1, 12),
			reads:        s.between(50, 400),
			misdirected:  s.between(0, 100),
			batchMax:     s.between(1, 6),
			fillerMax:    s.between(0, 40),
		},
		limits:   drawLimits(&s),
		handover: drawHandovers(seed),
		damage:   drawDamage(seed),
		chunks:   drawChunks(seed),

		reconfiguration: drawReconfigurations(seed),
		wipes:           drawWipes(seed),
	}
	m.witnesses = drawWitnesses(seed, m.members)
	drawStarved(&s, &m.network)
	if stormy := s.chance(300); stormy {
		m.storm(s.between(2, 4))
	}
	return m
}

// drawStarved chooses, in half of the seeds, a few kinds of messages that hardly get through. What a rule
// forbids often happens only while some answer does not come.
func drawStarved(s *stream, n *networkMixture) {
	for range sometimes(s, 1, 3) {
		n.starved[s.between(int(core.KindPrepare), int(core.KindProbeOK))] = true
	}
	n.starvedLoss, n.starvedLate = s.between(0, 900), s.between(0, 900)
}

// Choice is the durability that a run has.
type Choice uint8

// The choices. In ChoiceDrawn half of the seeds have sync, and a quarter each async and memory.
const (
	ChoiceDrawn Choice = iota
	ChoiceSync
	ChoiceAsync
	ChoiceMemory
	// ChoiceLossy is async in half of the seeds and memory in the others.
	ChoiceLossy
)

// drawDurability draws what has to do with it, from a stream of its own: a seed in sync is what it was before there
// was another durability.
func (m *mixture) drawDurability(seed uint64, choice Choice) {
	s := newStream(seed, streamDurability)
	drawn, which := s.chance(500), core.DurabilityAsync+core.Durability(s.below(2))
	switch {
	case choice == ChoiceSync || choice == ChoiceDrawn && drawn:
		return
	case choice == ChoiceAsync || choice == ChoiceMemory:
		which = core.DurabilityAsync + core.Durability(choice-ChoiceAsync)
	}
	m.durability = which
	m.disk.flush = s.between(0, 500)
	m.fault.stop = sometimes(&s, 1, 10)
	if s.chance(300) {
		m.network.starved[s.between(int(core.KindRecovery), int(core.KindRecoveryResponse))] = true
	}
}

// storm makes everything that turns a group over more frequent, and shorter.
func (m *mixture) storm(factor int) {
	for _, rate := range []*int{
		&m.network.partition, &m.network.oneWay, &m.network.isolatePrimary, &m.fault.crash, &m.fault.crashPrimary, &m.fault.pause,
	} {
		*rate *= factor
	}
	for _, length := range []*int{&m.network.partitionTickMax, &m.fault.downTickMax, &m.fault.pauseTickMax} {
		*length = max(*length/factor, 2)
	}
}

// sometimes is a rate between low and high in half of the seeds and zero in the others.
func sometimes(s *stream, low, high int) int {
	on, rate := s.chance(500), s.between(low, high)
	if !on {
		return 0
	}
	return rate
}

func drawNetwork(s *stream) networkMixture {
	return networkMixture{
		loss:             sometimes(s, 1, 20) * s.between(1, 10),
		duplicate:        sometimes(s, 10, 300),
		delayMax:         momentsPerTick/2 + instant(sometimes(s, 1, 6*momentsPerTick)),
		tail:             sometimes(s, 5, 60),
		tailMax:          s.span(10, 120) * momentsPerTick,
		clog:             sometimes(s, 5, 60),
		partition:        sometimes(s, 3, 25),
		oneWay:           sometimes(s, 3, 25),
		isolatePrimary:   sometimes(s, 2, 20),
		clogCapacity:     s.between(2, 20),
		partitionTickMax: s.between(5, 80),
	}
}

func drawDisk(s *stream) diskMixture {
	return diskMixture{
		slow:       sometimes(s, 10, 400),
		slowMax:    s.span(1, 12) * momentsPerTick,
		powerFails: s.chance(500),
	}
}

func drawFaults(s *stream) faultMixture {
	return faultMixture{
		crash:        sometimes(s, 2, 30),
		crashAll:     sometimes(s, 1, 6),
		crashPrimary: sometimes(s, 1, 15),
		crashAtStep:  sometimes(s, 1, 12),
		downTickMax:  s.between(1, 60),
		pause:        sometimes(s, 2, 20),
		pauseTickMax: s.between(2, 60),
		drift:        s.chance(500),
		gather:       sometimes(s, 50, 500),
		transferLoss: sometimes(s, 50, 500),
	}
}

func drawLimits(s *stream) limits {
	heartbeat := s.between(1, 3)
	// Long enough for the slowest clock's heartbeat to come before the fastest clock's time-out.
	shortest := 2*heartbeat + s.between(2, 8)
	config := core.Config{
		HeartbeatTicks:     heartbeat,
		ViewChangeTicksMin: shortest,
		ViewChangeTicksMax: shortest + s.between(2, 10),
		ResendTicks:        s.between(2, 5),
		InFlightMax:        32,
		BatchEntriesMax:    64,
		BatchBytesMax:      1 << 16,
		ProposalsBytesMax:  1 << 16,
		ReadsMax:           64,
	}
	if tiny := s.chance(500); tiny {
		config.InFlightMax = s.between(1, 4)
		config.BatchEntriesMax = s.between(1, 4)
		config.BatchBytesMax = s.between(32, 128)
		config.ProposalsBytesMax = s.between(64, 256)
		config.ReadsMax = s.between(1, 3)
	}
	return limits{
		config:          config,
		checkpointEvery: core.OpNumber(s.between(4, 4<<s.below(5))), // small ones most often
		inboxMax:        s.between(8, 64),
		inputsMax:       s.between(1, 2<<s.below(5)),
	}
}
