package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
	"google.golang.org/grpc"

	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/survey"
)

// ErrJoin says that no directory is made for a newcomer; the text says why, and what to do.
var ErrJoin = errors.New("cluster: nothing is set up")

// JoinOptions say for which newcomer Join makes a directory. Groups, Group and Address are needed.
type JoinOptions struct {
	// Groups are those of the cluster, the coordinator's first, as far as they are known: their members name the others.
	Groups []Group
	// Group is the one to join, 0 for the coordinator's.
	Group uint32
	// Replica is the newcomer's id: above every id that was ever a member's, or that of a member which has lost its data,
	// whose later life the newcomer is. 0: the next that is free.
	Replica uint32
	// Address is where the newcomer listens and is reached: host and port.
	Address string
	// Witness: the newcomer is to be a witness; see Member.Witness. One that comes back is what it was.
	Witness bool
	// Directory is the node's; "": the one of the node's name, in Parent.
	Directory, Parent string
	// Dial is added to the options of the connections by which the members are asked.
	Dial []grpc.DialOption
}

// Joined is the directory of a newcomer.
type Joined struct {
	Cluster string `json:"cluster"`
	Group   uint32 `json:"group"`
	Replica uint32 `json:"replica"`
	Address string `json:"address"`
	// Incarnation is the directory's life: a later one than any other of this replica that its group knows.
	Incarnation uint64 `json:"incarnation"`
	// Node is the node's file. Changed is false when it stood already.
	Node    string `json:"node"`
	Changed bool   `json:"changed"`
	// Member: the group has committed that this life is a member. Returns: it has an earlier life of it as a member.
	Member  bool `json:"member"`
	Returns bool `json:"returns"`
}

// Join asks a running cluster what a newcomer to a group has to know, and makes its directory, with node.toml and an
// empty data directory. The newcomer's node is started then, catches up, and takes part in nothing before the group has
// committed members that name this very directory. Run again it changes nothing; an interrupted run is finished by the next.
// Errors are ErrJoin, ErrConfig, survey.ErrNoPrimary and those of the directory.
func Join(ctx context.Context, options JoinOptions) (*Joined, error) {
	j := joining{options: options}
	if err := j.ask(ctx); err != nil {
		return nil, err
	}
	if err := j.inspect(); err != nil {
		return nil, err
	}
	incarnation, err := j.life(uint64(time.Now().UnixNano()))
	if err != nil {
		return nil, err
	}
	return j.setUp(incarnation)
}

// joining is a newcomer's directory on its way.
type joining struct {
	options      JoinOptions
	coordinators []Member
	found        survey.Members
	// directory is the node's, and config what stands in its file; nil: there is none.
	directory string
	config    *NodeConfig
	// have is the life of the data directory that is there; 0: there is none. inUse: a process has it.
	have  uint64
	inUse bool
	// implied: the id was not asked for; it is that of the member at the address.
	implied bool
}

// ask gathers what the cluster knows.
func (j *joining) ask(ctx context.Context) (err error) {
	o := &j.options
	if err := checkAddress(o.Address); err != nil {
		return err
	}
	at := slices.IndexFunc(o.Groups, func(g Group) bool { return g.ID == o.Group })
	if at < 0 {
		return fmt.Errorf("%w: the cluster has no group %d", ErrJoin, o.Group)
	}
	if j.found, err = survey.AwaitMembers(ctx, o.Groups[at], o.Dial...); err != nil {
		return err
	}
	if o.Replica != 0 { // that it does not answer is believed after a while only
		if found, err := survey.FindMembers(ctx, o.Groups[at], o.Dial...); err == nil && found.Epoch >= j.found.Epoch {
			j.found = found
		}
	}
	coordinators := o.Groups[0].Members
	if newer, err := survey.FindMembers(ctx, o.Groups[0], o.Dial...); err == nil {
		coordinators = newer.AsGroup().Members
	}
	j.coordinators = membersOf(coordinators)
	for _, group := range o.Groups {
		for _, member := range group.Members {
			if member.Address == o.Address && group.ID != o.Group {
				return fmt.Errorf("%w: %s is the address of %s", ErrJoin, o.Address, NodeName(group.ID, member.Replica))
			}
		}
	}
	return nil
}

// inspect finds out which replica it is to be, and what stands in its directory.
func (j *joining) inspect() error {
	o := &j.options
	for _, member := range j.found.Members {
		switch {
		case member.Address != o.Address || member.Replica == o.Replica:
		case o.Replica == 0:
			o.Replica, j.implied = member.Replica, true // its own directory may be here
		default:
			return fmt.Errorf("%w: %s is the address of replica %d", ErrJoin, o.Address, member.Replica)
		}
	}
	if j.directory = o.Directory; j.directory == "" {
		j.directory = filepath.Join(o.Parent, NodeName(o.Group, j.replica()))
	}
	config, err := ReadNodeConfig(filepath.Join(j.directory, NodeFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		j.config = config
		if o.Replica == 0 {
			o.Replica = config.Replica
		}
		if config.Cluster != j.found.Cluster || config.Group != o.Group || config.Replica != o.Replica || config.Own != "" && config.Own != o.Address {
			return fmt.Errorf("%w: %s is that of %s at %s, of cluster %s: choose another --directory, or remove it", ErrJoin,
				j.directory, NodeName(config.Group, config.Replica), config.Address(), config.Cluster)
		}
	}
	o.Replica = j.replica()
	return j.inspectData()
}

// replica is the id that was asked for, or the next that is free.
func (j *joining) replica() uint32 {
	if j.options.Replica != 0 {
		return j.options.Replica
	}
	return j.found.Largest + 1
}

// data is the data directory, which may lie elsewhere by the file that is there.
func (j *joining) data() string {
	if j.config != nil {
		return j.config.Data
	}
	return filepath.Join(j.directory, dataDirectory)
}

// inspectData finds out which life the data directory has.
func (j *joining) inspectData() error {
	identity, err := j.newConfig(0).identity()
	if err != nil {
		return err
	}
	identity.Incarnation = 0 // any
	directory, err := node.OpenDirectory(j.data(), identity)
	switch {
	case errors.Is(err, node.ErrNotFormatted):
		return nil
	case errors.Is(err, node.ErrInUse) && j.config != nil:
		j.inUse, j.have = true, max(j.config.Incarnation, 1)
		return nil
	case err != nil:
		return fmt.Errorf("cluster: init: %w", err)
	}
	j.have = directory.Identity().Incarnation
	return directory.Close()
}

// life is the incarnation that the directory has or is to have. A new one is drawn from a clock in nanoseconds, so that
// no two directories are ever taken for each other: the group names the one that it takes.
func (j *joining) life(now uint64) (uint64, error) {
	o := &j.options
	member, present := j.found.Member(o.Replica)
	switch {
	case !present && o.Replica <= j.found.Largest:
		return 0, fmt.Errorf("%w: replica %d of %s was a member and has left, and no id is used again: leave --replica away",
			ErrJoin, o.Replica, groupName(o.Group))
	case present && o.Witness && !member.Witness:
		return 0, fmt.Errorf("%w: replica %d has a state, and cannot come back as a witness", ErrJoin, o.Replica)
	case j.have != 0 && j.have < member.Incarnation:
		return 0, fmt.Errorf("%w: %s is of an earlier life of replica %d, which is over: remove it", ErrJoin, j.directory, o.Replica)
	case j.have == 1 && j.config == nil:
		return 0, fmt.Errorf("%w: %s is a replica's that its group began with, and lacks its %s: put that back", ErrJoin, j.directory, NodeFile)
	case j.have != 0:
		return j.have, nil
	case j.implied:
		return 0, fmt.Errorf("%w: %s is the address of replica %d; should that have lost its data: --replica %d", ErrJoin, o.Address, o.Replica, o.Replica)
	case present && len(j.found.Members) == 1:
		return 0, fmt.Errorf("%w: replica %d is the only member of %s, and nobody else has its data", ErrJoin, o.Replica, groupName(o.Group))
	case present && j.isWell(member):
		return 0, fmt.Errorf("%w: replica %d answers at %s and is well, so that it needs no later life: to move it, set another replica up "+
			"(without --replica), then: viewline member replace", ErrJoin, o.Replica, member.Address)
	}
	return max(now, member.Incarnation+1), nil
}

// isWell reports whether a member answers in its present life and takes part.
func (j *joining) isWell(member survey.EpochMember) bool {
	if j.found.Lives[member.Replica] != member.Incarnation {
		return false
	}
	return slices.ContainsFunc(j.found.Replicas, func(r Replica) bool {
		return r.Replica == member.Replica && r.Error == "" && r.Failure == "" && r.Status == "normal"
	})
}

// newConfig is the file of a node of that life.
func (j *joining) newConfig(incarnation uint64) *NodeConfig {
	o, m := &j.options, &j.found
	member, _ := m.Member(o.Replica)
	config := &NodeConfig{
		Cluster: m.Cluster, Group: o.Group, Replica: o.Replica, Joining: true, Witness: o.Witness || member.Witness, Own: o.Address, Incarnation: incarnation, Data: dataDirectory,
		Placement: m.Placement, Backend: m.Backend, Durability: m.Durability, Log: m.Log, Coordinators: j.coordinators,
	}
	if backend, err := backendOf(m.Backend); err == nil {
		config.Log = backend.log(m.Log)
	}
	if !m.Leases {
		config.Leases = new(bool)
	}
	j.keep(config)
	config.Members = membersOf(m.AsGroup().Members)
	if o.Group != CoordinatorGroup {
		return config
	}
	for _, group := range o.Groups[1:] {
		config.Shards = append(config.Shards, ShardLayout{ID: group.ID, Replicas: membersOf(group.Members)})
	}
	return config
}

// membersOf are members in the words of a file.
func membersOf(group []GroupMember) (members []Member) {
	for _, member := range group {
		members = append(members, Member{Replica: member.Replica, Address: member.Address, Witness: member.Witness})
	}
	return members
}

// keep takes over what an operator may have written into the file that is there.
func (j *joining) keep(config *NodeConfig) {
	if j.config == nil {
		return
	}
	config.Admin, config.Peers = j.config.Admin, j.config.Peers
	if j.config.Listen != j.config.Address() {
		config.Listen = j.config.Listen
	}
	if j.config.Data != filepath.Join(j.directory, dataDirectory) {
		config.Data = j.config.Data
	}
}

// setUp makes what is missing. The node's file is written last.
func (j *joining) setUp(incarnation uint64) (*Joined, error) {
	member, present := j.found.Member(j.options.Replica)
	done := &Joined{
		Cluster: j.found.Cluster, Group: j.options.Group, Replica: j.options.Replica, Address: j.options.Address, Incarnation: incarnation,
		Node: filepath.Join(j.directory, NodeFile), Member: present && member.Incarnation == incarnation,
		Returns: present && member.Incarnation < incarnation,
	}
	if j.inUse || j.have == incarnation && j.config != nil && max(j.config.Incarnation, 1) == incarnation {
		return done, nil
	}
	config := j.newConfig(incarnation)
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := formatReplica(j.data(), config); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(config); err != nil {
		return nil, fmt.Errorf("cluster: init: %w", err)
	}
	done.Changed = true
	return done, writeDurably(done.Node, text.Bytes())
}
