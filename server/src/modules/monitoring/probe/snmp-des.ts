import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { Authentication, Encryption, PrivProtocols } from "net-snmp";

// net-snmp 3.29 asks OpenSSL for "des-cbc", which OpenSSL 3 keeps in a provider that Node does not load, so every DES
// message fails. Triple DES with three equal keys is single DES, and that OpenSSL still has.
const cipherName = "des-ede3-cbc";

/** Key and initialisation vector of one message, RFC 3414 section 8.1.1.1. */
function desInput(passphrase: string, authProtocol: number, engineId: Buffer, salt: Buffer): [Buffer, Buffer] {
  const localized = Authentication.passwordToKey(authProtocol, passphrase, engineId);
  const key = localized.subarray(0, 8);
  return [Buffer.concat([key, key, key]), Buffer.from(salt.map((byte, at) => byte ^ localized[8 + at]!))];
}

/** Makes the privacy protocol DES work in net-snmp; to be called once, before the first session. */
export function repairDes(): void {
  const des = Encryption.algorithms[PrivProtocols.des]!;
  des.encryptPdu = (pdu, _protocol, passphrase, authProtocol, engine) => {
    const salt = randomBytes(8);
    salt.writeUInt32BE(engine.engineBoots);
    const cipher = createCipheriv(cipherName, ...desInput(passphrase, authProtocol, engine.engineID, salt));
    cipher.setAutoPadding(false);
    const padding = Buffer.alloc((8 - (pdu.length % 8)) % 8);
    return {
      encryptedPdu: Buffer.concat([cipher.update(pdu), cipher.update(padding), cipher.final()]),
      msgPrivacyParameters: salt,
    };
  };
  des.decryptPdu = (pdu, _protocol, salt, passphrase, authProtocol, engine) => {
    if (salt.length !== 8) throw new RangeError("A DES salt is 8 bytes long.");
    const decipher = createDecipheriv(cipherName, ...desInput(passphrase, authProtocol, engine.engineID, salt));
    decipher.setAutoPadding(false);
    return Buffer.concat([decipher.update(pdu), decipher.final()]);
  };
}
