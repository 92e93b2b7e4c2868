package vr

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
)

// Owner says whose a storage is.
type Owner struct {
	// Cluster is Options.Cluster; all zero: it was not told.
	Cluster     [16]byte
	Group       replication.GroupID
	Replica     replication.ReplicaID
	Incarnation uint64
	// Witness: it is a witness's, and its checkpoints have no state.
	Witness bool
}

// String names all of it.
func (o Owner) String() string {
	text := fmt.Sprintf("replica %d of group %d in incarnation %d", o.Replica, o.Group, o.Incarnation)
	if o.Witness {
		text += ", a witness,"
	}
	if o.Cluster != [16]byte{} {
		text += " of cluster " + hex.EncodeToString(o.Cluster[:])
	}
	return text
}

// ErrOwner is what every OwnerError is.
var ErrOwner = errors.New("vr: the storage is another replica's")

// OwnerError says that a replica was opened over the storage of another one, or over its own of a later incarnation: what
// is in it was promised by somebody else. Nothing was read or changed.
type OwnerError struct {
	// Have is whose the storage is, Want who it was opened for.
	Have, Want Owner
}

// Error names both.
func (e *OwnerError) Error() string {
	return fmt.Sprintf("%v: it belongs to %v, not to %v", ErrOwner, e.Have, e.Want)
}

// Is makes every OwnerError an ErrOwner.
func (e *OwnerError) Is(target error) bool { return target == ErrOwner }

// Succeeds decides for a Storage what a Claim makes of the owner that it has; the zero value: none yet. It returns the
// owner to keep from now on, or an *OwnerError. A later incarnation of the same replica may go on with what it finds,
// since it takes part only when its group says so; an earlier one may not. A
// witness's storage is never another's: it has no state.
func (o Owner) Succeeds(have Owner) (Owner, error) {
	if have == (Owner{}) {
		return o, nil
	}
	wanted := o
	if have.Cluster == [16]byte{} || o.Cluster == [16]byte{} {
		// Whoever was not told the cluster has nothing to say about it.
		wanted.Cluster = have.Cluster
		if wanted.Cluster == [16]byte{} {
			wanted.Cluster = o.Cluster
		}
	}
	same := wanted.Group == have.Group && wanted.Replica == have.Replica && wanted.Witness == have.Witness && (wanted.Cluster == have.Cluster || have.Cluster == [16]byte{})
	if !same || wanted.Incarnation < have.Incarnation {
		return Owner{}, &OwnerError{Have: have, Want: o}
	}
	return wanted, nil
}

// owner is who the storage has to be of.
func (o Options) owner() Owner {
	return Owner{Cluster: o.Cluster, Group: o.Group, Replica: o.Self, Incarnation: o.Incarnation, Witness: o.isWitness()}
}
