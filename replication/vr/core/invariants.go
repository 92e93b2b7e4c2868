package core

// checkInvariants stops the replica when its own state contradicts itself. It costs a few comparisons and runs
// after every step, in production too.
func (r *Replica) checkInvariants() {
	switch {
	case r.failure != nil:
	case r.lastNormalView > r.view:
		r.fail("last-normal-view %d above view %d", r.lastNormalView, r.view)
	case r.applied > r.commit || r.commit > r.log.last():
		r.fail("applied %d, commit %d and op-number %d do not ascend", r.applied, r.commit, r.log.last())
	case r.log.base.Op > r.checkpoint.Op:
		r.fail("the log begins above op-number %d, the checkpoint is at %d", r.log.base.Op, r.checkpoint.Op)
	case r.status == StatusNormal && r.view != r.lastNormalView:
		r.fail("normal in view %d with last-normal-view %d", r.view, r.lastNormalView)
	case r.primary != nil && (r.status != StatusNormal || r.primaryOf(r.view) != r.config.Self):
		r.fail("acts as primary of view %d in status %v", r.view, r.status)
	case r.leads && r.primary == nil:
		r.fail("leads view %d without being its primary", r.view)
	case (r.status == StatusRecovering) != (r.recovery != nil):
		r.fail("in status %v, recovering %v", r.status, r.recovery != nil)
	case r.recovery != nil && (r.viewChange != nil || r.probe != nil || r.transfer != nil && r.transfer.kind != recovering):
		r.fail("takes part while it recovers")
	case r.transfer != nil && r.transfer.kind == recovering && r.recovery == nil:
		r.fail("fetches a log to recover in status %v", r.status)
	case r.status == StatusViewChange && r.viewChange == nil:
		r.fail("in a view change without its state")
	case !r.member && (r.status <= StatusRecovering || r.primary != nil):
		r.fail("in status %v, and no member of epoch %d", r.status, r.membership.Epoch)
	case r.member && r.status > StatusStopped:
		r.fail("in status %v, and a member of epoch %d", r.status, r.membership.Epoch)
	}
}
