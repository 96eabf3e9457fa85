/**
 * Returns the part of a client address that rate limits are counted by: the whole IPv4 address, also of an IPv4-mapped
 * IPv6 address (`::ffff:192.0.2.1`); else the /64 network of an IPv6 address, because one client usually owns all
 * addresses of such a network.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const mappedIpv4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mappedIpv4 !== undefined) return mappedIpv4
  const [groupsBeforeGap = '', groupsAfterGap] = (address.split('%')[0] ?? '').toLowerCase().split('::')
  const groups = groupsBeforeGap === '' ? [] : groupsBeforeGap.split(':')
  if (groupsAfterGap !== undefined) {
    const groupCountAfterGap =
      groupsAfterGap === '' ? 0 : groupsAfterGap.split(':').length + (groupsAfterGap.includes('.') ? 1 : 0)
    while (groups.length + groupCountAfterGap < 8) groups.push('0')
    groups.push(...groupsAfterGap.split(':'))
  }
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}
