package golang

// BuildOf says of a call whether it is remembered.
var BuildOf = buildOf
