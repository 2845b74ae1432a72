--- Loaded by Busted before each file of specs: what all of them may count on.
package.path = 'tests/?.lua;' .. package.path
