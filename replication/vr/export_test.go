package vr

// BehindMax is how many batches a primary's disk may owe.
const BehindMax = behindMax
