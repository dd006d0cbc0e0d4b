use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{copy_bidirectional, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::{builder, ms, APP};
use crate::error::RpcError;
use crate::testing::FakeBroker;
use crate::ClientBuilder;

/// A CA, and a folder of PEM files of it that is gone with it.
struct Ca {
    own: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Ca {
    fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = std::env::temp_dir().join(format!("lingpai-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), own.pem()).unwrap();
        Ca { own, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &*self.own).unwrap(), key)
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Speaks TLS in front of the broker, by a certificate of this name. Gives its port. `asks`: for a client certificate.
async fn front(broker: &FakeBroker, ca: &Ca, name: &str, asks: bool) -> u16 {
    let (cert, key) = ca.issue(name);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.own.der().to_vec())).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match asks {
        true => {
            let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
            config.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots.into(), ring).build().unwrap())
        }
        false => config.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = broker.target().replace("http://", "");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut socket) = acceptor.accept(socket).await else { return };
                let mut onward = TcpStream::connect(behind).await.unwrap();
                let _ = copy_bidirectional(&mut socket, &mut onward).await;
            });
        }
    });
    port
}

/// What the first stream of a client failed with, and whether it asks seldom from then on.
async fn failure(options: impl FnOnce(ClientBuilder) -> ClientBuilder, port: u16) -> (String, bool) {
    let (builder, mut told) = builder(&format!("https://localhost:{port}"), &[APP]);
    let _client = options(builder).start_optional().build().await.unwrap();
    let (code, words, pause) = told.error().await;
    (format!("{code} {words}"), pause >= ms(30_000))
}

#[tokio::test]
async fn r18_speaks_tls_and_shows_its_certificate() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let ca = Ca::new("good");
    let port = front(&broker, &ca, "localhost", true).await;
    let (cert, key) = ca.issue("orders");
    std::fs::write(ca.file("client.pem"), cert.pem()).unwrap();
    std::fs::write(ca.file("client.key"), key.serialize_pem()).unwrap();
    let (options, _told) = builder(&format!("localhost:{port}"), &[APP]); // TLS, since a CA is given
    let options = options.ca(ca.file("ca.pem")).certificate(ca.file("client.pem"), ca.file("client.key"));
    let client = options.build().await.unwrap();
    assert_eq!(client.app(APP).unwrap().token().unwrap().generation(), 1);
}

#[tokio::test]
async fn r9_a_failure_of_tls_is_somebodys_to_mend() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (ca, other) = (Ca::new("own"), Ca::new("other"));
    let port = front(&broker, &ca, "localhost", false).await;
    let (words, is_slow) = failure(|options| options.ca(other.file("ca.pem")), port).await;
    assert!(is_slow && words.matches("invalid peer certificate").count() == 1, "{words}");

    let port = front(&broker, &ca, "another.test", false).await;
    let (words, is_slow) = failure(|options| options.ca(ca.file("ca.pem")), port).await;
    assert!(is_slow && words.contains("not valid for name \"localhost\""), "{words}");

    // Of TLS 1.3, a client learns only after the handshake that its certificate was wanted.
    let port = front(&broker, &ca, "localhost", true).await;
    let (words, is_slow) = failure(|options| options.ca(ca.file("ca.pem")), port).await;
    assert!(is_slow && words.contains("CertificateRequired"), "{words}");

    let plain = broker.target().rsplit(':').next().unwrap().parse().unwrap();
    let (words, is_slow) = failure(|options| options.ca(ca.file("ca.pem")), plain).await;
    assert!(is_slow && words.contains("corrupt message"), "{words}");

    let (words, is_slow) = failure(|options| options.ca(ca.file("absent.pem")), port).await;
    assert!(is_slow && words.contains("absent.pem: No such file"), "{words}");
    let (words, is_slow) = failure(|options| options.ca(ca.file("ca.pem")).key_file(ca.file("absent.key")), port).await;
    assert!(is_slow && words.contains("the key cannot be read") && words.contains("absent.key: No such file"), "{words}");
}

#[tokio::test]
async fn r9_a_connection_that_is_lost_in_the_handshake_is_not() {
    let ca = Ca::new("lost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
        }
    });
    let (words, is_slow) = failure(|options| options.ca(ca.file("ca.pem")), port).await;
    assert!(!is_slow && words.contains("tls handshake eof"), "{words}");
}

#[test]
fn r9_what_befalls_a_stream_that_is_open_is_no_failure_of_tls() {
    let broken = || tonic::Status::from_error(Box::new(std::io::Error::new(std::io::ErrorKind::InvalidData, "a broken record")));
    let (before, after) = (RpcError::of_call(&broken()), RpcError::of_stream(&broken()));
    assert!(before.needs_operator && !after.needs_operator);
    assert_eq!(after.to_string(), "UNAVAILABLE: a broken record");
    assert!(RpcError::of_stream(&tonic::Status::permission_denied("no more")).needs_operator);
}
